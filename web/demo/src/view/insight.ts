// What happened in a turn: how long each stage took, who answered and why, and how the caller spoke.

import type { Stage, Turn } from "../conversation";
import type { Dynamics, Signal, Signals } from "../protocol";
import { find, make, seconds } from "./element";

const NAMES: Record<Stage, string> = {
    end: "Your turn is over",
    words: "Your words are known",
    route: "A model is chosen",
    first: "Its first word",
    sound: "Its first sound",
    heard: "You hear it",
};

/** Turns that the row of bars has room for. */
const MOST_BARS = 16;

interface Gauge {
    name: string;
    unit: string;
    /** The ends of the scale. */
    from: number;
    to: number;
    digits: number;
    /** What the two ends are like. */
    ends: [string, string];
    hint: string;
}

const GAUGES: Record<string, Gauge> = {
    hesitation: { name: "Hesitation", unit: "", from: 0, to: 1, digits: 2, ends: ["fluent", "halting"], hint: "Silent and filled pauses, restarts" },
    pace: { name: "Pace", unit: "/s", from: 1, to: 8, digits: 1, ends: ["slow", "fast"], hint: "Syllables a second while speaking" },
    pitch: { name: "Pitch", unit: "Hz", from: 70, to: 350, digits: 0, ends: ["low", "high"], hint: "Median of the voice" },
    loudness: { name: "Loudness", unit: "dBFS", from: -50, to: 0, digits: 0, ends: ["soft", "loud"], hint: "Level of the speech" },
    noise: { name: "Clear of noise", unit: "dB", from: 0, to: 50, digits: 0, ends: ["noisy", "clear"], hint: "Signal-to-noise ratio" },
    end_of_turn: { name: "Finished", unit: "", from: 0, to: 1, digits: 2, ends: ["going on", "over"], hint: "How likely your turn was over, when it was ended" },
    transcription: { name: "Sure of the words", unit: "", from: 0, to: 1, digits: 2, ends: ["guessing", "sure"], hint: "How sure the recogniser is" },
    talk_ratio: { name: "Your share", unit: "", from: 0, to: 1, digits: 2, ends: ["listening", "talking"], hint: "Your part of all that was said so far" },
    reply_latency: { name: "Answered after", unit: "s", from: 0, to: 3, digits: 1, ends: ["at once", "later"], hint: "From the end of the answer before to your first sound" },
};

/** What a gauge shows: a signal by that name, or a figure of the call. */
function read(signals: Signals | undefined, key: string): Signal | undefined {
    const { dynamics, ...measured } = (signals ?? {}) as Record<string, Signal> & { dynamics?: Dynamics };
    const figure = dynamics?.[key];
    return measured[key] ?? (typeof figure === "number" ? { value: figure, confidence: 1, source: "call" } : undefined);
}

/** What breaks the flow of speech, but for silence, which is in every turn. */
const BREAKS: Record<string, string> = { filled_pause: "“um”", repetition: "repeated", cut_off: "cut off", slow_start: "late" };

/** What a signal tells beside its value, in words: what a hesitation was told from, the register of a voice. */
function beside(signal: Signal): string {
    const told = signal.register ? [signal.register] : [];
    for (const [type, name] of Object.entries(BREAKS)) {
        const count = signal.parts?.filter((part) => part.type === type).length ?? 0;
        if (count) told.push(count > 1 || type === "filled_pause" ? `${count} × ${name}` : name);
    }
    return told.map((words) => ` · ${words}`).join("");
}

export class Insight {
    private readonly latency = find("latency");
    private readonly route = find("route");
    private readonly signals = find("signals");
    private readonly gauges = new Map<string, HTMLElement>();
    private readonly languages = new Intl.DisplayNames(["en"], { type: "language" });
    /** The turn that was picked; else the last one is shown. */
    private picked: Turn | undefined;
    private last: Turn[] = [];

    constructor() {
        this.prepareSignals();
        this.show([]);
    }

    show(turns: Turn[]): void {
        this.last = turns;
        if (this.picked && !turns.includes(this.picked)) this.picked = undefined;
        const turn = this.picked ?? turns.at(-1);
        this.showLatency(turns, turn);
        this.showRoute(turn);
        // Signals stay until there are newer ones: a typed turn has none.
        const heard = turn?.signals ? turn : this.picked ? turn : turns.findLast((turn) => turn.signals);
        this.showSignals(heard);
    }

    private showLatency(turns: Turn[], turn: Turn | undefined): void {
        if (!turn) {
            this.latency.replaceChildren(make("p", { class: "empty" }, "From your last sound to the first of the answer, stage by stage."));
            return;
        }
        const total = turn.at.heard ?? turn.at.sound ?? turn.at.first;
        const figure = make("p", { class: "figure" }, make("b", {}, total === undefined ? "…" : seconds(total)));
        const to = turn.at.heard === undefined && turn.at.sound === undefined ? "its first word" : "its first sound";
        figure.append(make("span", {}, `${turn.typed ? "from sending" : "from your last sound"} to ${to}`));
        const marks = (Object.entries(turn.at) as [Stage, number][]).sort(([, one], [, other]) => one - other);
        const longest = Math.max(400, ...marks.map(([, at]) => at));
        let before = 0;
        const stages = marks.map(([stage, at]) => {
            const bar = make("i");
            bar.style.left = `${(Math.max(0, before) / longest) * 100}%`;
            bar.style.width = `${(Math.max(0, at - before) / longest) * 100}%`;
            const row = make("li", { "data-stage": stage }, make("span", {}, NAMES[stage]), make("span", { class: "track", "aria-hidden": "true" }, bar), make("b", {}, seconds(at)));
            before = at;
            return row;
        });
        this.latency.replaceChildren(figure, make("ol", { class: "stages" }, ...stages), this.bars(turns, turn));
    }

    /** A bar a turn; each can be picked. */
    private bars(turns: Turn[], shown: Turn): HTMLElement {
        const bars = make("div", { class: "bars", role: "group", "aria-label": "Turns" });
        const recent = turns.slice(-MOST_BARS);
        const longest = Math.max(800, ...recent.map((turn) => turn.at.heard ?? turn.at.first ?? 0));
        for (const turn of recent) {
            const took = turn.at.heard ?? turn.at.first;
            const label = `Turn ${turn.number}: ${took === undefined ? "no answer" : seconds(took)}`;
            const bar = make("button", { type: "button", title: label, "aria-label": label, "aria-pressed": String(turn === shown) }, make("i"));
            (bar.firstElementChild as HTMLElement).style.height = `${Math.max(8, ((took ?? 0) / longest) * 100)}%`;
            bar.onclick = () => {
                this.picked = turn === this.last.at(-1) ? undefined : turn;
                this.show(this.last);
                this.latency.querySelector<HTMLElement>('.bars [aria-pressed="true"]')?.focus();
            };
            bars.append(bar);
        }
        return bars;
    }

    private showRoute(turn: Turn | undefined): void {
        const route = turn?.route;
        if (!route) {
            this.route.replaceChildren(make("p", { class: "empty" }, "The rule that decided, the model it chose, and what was tried."));
            return;
        }
        const tries = turn.attempts.filter((attempt) => !attempt.work);
        const chain = route.targets.map((target) => {
            const tried = tries.find((attempt) => `${attempt.provider}/${attempt.model}` === target);
            const state = tried ? (tried.status === "success" ? "answered" : tried.status === "cancelled" ? "interrupted" : tried.status) : "";
            const first = tried?.firstTokenMs === undefined ? "" : `first token ${seconds(tried.firstTokenMs)}`;
            const notes = [state, first, tried?.costUsd ? `$${tried.costUsd.toPrecision(2)}` : ""].filter(Boolean).join(" · ");
            return make("li", { class: tried?.status ?? "waiting" }, make("b", {}, target), make("span", {}, notes));
        });
        const path = [route.router, route.route, route.variant].filter((part): part is string => Boolean(part));
        const crumbs = make("p", { class: "path" }, ...path.flatMap((part, at) => (at ? [" › ", make("b", {}, part)] : [make("b", {}, part)])));
        this.route.replaceChildren(crumbs, make("p", { class: "reason" }, route.reason), make("ol", { class: "chain" }, ...chain));
    }

    private prepareSignals(): void {
        const words = make("div", { class: "words" });
        for (const [key, name] of [["language", "Language"], ["emotion", "Emotion"]] as const) {
            const tile = make("div", { class: "tile", "data-signal": key }, make("span", {}, name), make("b", {}, "–"), make("small"));
            if (key === "emotion") tile.append(make("span", { class: "plane", "aria-hidden": "true" }, make("i")));
            this.gauges.set(key, tile);
            words.append(tile);
        }
        const list = make("div", { class: "gauges" });
        for (const [key, { name, ends, hint }] of Object.entries(GAUGES)) {
            const gauge = make(
                "div",
                { class: "gauge", "data-signal": key, title: hint },
                make("span", {}, name),
                make("b", {}, "–"),
                make("span", { class: "scale", "aria-hidden": "true" }, make("i")),
                make("small", { "aria-hidden": "true" }, make("span", {}, ends[0]), make("span", {}, ends[1])),
            );
            this.gauges.set(key, gauge);
            list.append(gauge);
        }
        this.signals.replaceChildren(words, list);
    }

    private showSignals(turn: Turn | undefined): void {
        for (const [key, element] of this.gauges) {
            const signal = read(turn?.signals, key);
            element.classList.toggle("absent", !signal);
            const value = element.querySelector("b")!;
            const gauge = GAUGES[key];
            if (!signal) value.textContent = "–";
            else if (gauge && typeof signal.value === "number") {
                value.textContent = `${signal.value.toFixed(gauge.digits)} ${gauge.unit}`.trim() + beside(signal);
                const share = Math.max(0, Math.min(1, (signal.value - gauge.from) / (gauge.to - gauge.from)));
                element.style.setProperty("--at", String(share));
                element.style.setProperty("--sure", String(0.35 + 0.65 * signal.confidence));
            } else this.showWord(key, element, value, signal);
        }
    }

    private showWord(key: string, element: HTMLElement, value: HTMLElement, signal: Signal): void {
        const text = String(signal.value);
        value.textContent = key === "language" ? this.languageName(text) : text;
        element.querySelector("small")!.textContent = `${Math.round(signal.confidence * 100)} % sure`;
        if (signal.arousal === undefined || signal.valence === undefined) return;
        element.style.setProperty("--valence", String(signal.valence));
        element.style.setProperty("--arousal", String(signal.arousal));
    }

    private languageName(code: string): string {
        try {
            return this.languages.of(code) ?? code;
        } catch {
            return code;
        }
    }
}
