// What the person chose, and what there is to choose from. Choices are kept in this browser, the key in this tab alone.

import { API, authorization } from "./line";
import type { Wishes } from "./protocol";
import { ofAnswer } from "./trouble";
import { find, make } from "./view/element";

/** Languages that callers ask for most; the server says what it does not understand. */
const LANGUAGES = ["en", "de", "es", "fr", "hi", "it", "ja", "ko", "nl", "pl", "pt", "ru", "sv", "tr", "uk", "vi", "zh"];
const NAMES = ["model", "voice", "language", "transport"] as const;

export class Choices {
    private readonly selects = Object.fromEntries(NAMES.map((name) => [name, find<HTMLSelectElement>(name)])) as Record<(typeof NAMES)[number], HTMLSelectElement>;

    /** `changed` is told when the session should be another one. */
    constructor(changed: () => void) {
        const names = new Intl.DisplayNames(["en"], { type: "language" });
        const language = this.selects.language;
        language.append(new Option("Any", ""), ...LANGUAGES.map((code) => new Option(names.of(code) ?? code, code)));
        for (const name of NAMES) {
            const select = this.selects[name];
            this.restore(name);
            select.onchange = () => {
                localStorage.setItem(`timbre.${name}`, select.value);
                if (name !== "transport") changed();
            };
        }
        find<HTMLFormElement>("choices").onsubmit = (event) => event.preventDefault();
    }

    get wishes(): Wishes {
        const { model, voice, language } = this.selects;
        return { model: model.value, voice: voice.value, language: language.value };
    }

    get transport(): string {
        return this.selects.transport.value;
    }

    get key(): string {
        return sessionStorage.getItem("timbre.key") ?? "";
    }

    set key(key: string) {
        sessionStorage.setItem("timbre.key", key);
    }

    /** Asks the server for its models and voices. */
    async load(): Promise<void> {
        const ask = async (path: string): Promise<{ id: string; owned_by?: string; default?: boolean }[]> => {
            const answer = await fetch(new URL(path, API), { headers: authorization(this.key) });
            if (!answer.ok) throw await ofAnswer(answer);
            return (await answer.json()).data;
        };
        const [models, voices] = await Promise.all([ask("models"), ask("voices")]);
        const isRouter = (id: string) => id === "auto" || id.startsWith("timbre/") || id.startsWith("inworld/");
        const options = (ids: string[]) => ids.map((id) => new Option(id, id));
        const groups = [
            ["Routers", models.filter(({ id }) => isRouter(id))],
            ["Models", models.filter(({ id }) => !isRouter(id))],
        ] as const;
        const filled = groups.filter(([, group]) => group.length).map(([label, group]) => make("optgroup", { label }, ...options(group.map(({ id }) => id))));
        this.selects.model.replaceChildren(new Option("Server’s default", ""), ...filled);
        const own = voices.find((voice) => voice.default);
        this.selects.voice.replaceChildren(new Option(own ? `${own.id} (default)` : "Server’s default", ""), ...options(voices.filter((voice) => !voice.default).map(({ id }) => id)));
        this.restore("model");
        this.restore("voice");
    }

    /** What was chosen before, if it is still there. */
    private restore(name: (typeof NAMES)[number]): void {
        const kept = localStorage.getItem(`timbre.${name}`) ?? "";
        const select = this.selects[name];
        if ([...select.options].some((option) => option.value === kept)) select.value = kept;
    }
}
