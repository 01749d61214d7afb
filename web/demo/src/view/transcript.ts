// The words of both sides, growing.

import type { Entry } from "../conversation";
import { find, make, seconds, write } from "./element";

export class Transcript {
    private readonly log = find<HTMLOListElement>("log");
    private readonly page = find("page");
    private readonly lines = new Map<string, HTMLLIElement>();

    show(entries: Entry[]): void {
        const atEnd = this.page.scrollHeight - this.page.scrollTop - this.page.clientHeight < 80;
        const present = new Set(entries.map((entry) => entry.id));
        for (const [id, line] of this.lines) {
            if (present.has(id)) continue;
            line.remove();
            this.lines.delete(id);
        }
        for (const entry of entries) this.line(entry);
        find("welcome").hidden = entries.length > 0;
        if (atEnd) this.page.scrollTop = this.page.scrollHeight;
    }

    clear(): void {
        this.show([]);
    }

    private line(entry: Entry): void {
        let line = this.lines.get(entry.id);
        if (!line) {
            line = make("li", { class: entry.who }, make("span", { class: "who" }, entry.who === "you" ? "You" : "Timbre"), make("p"), make("small"));
            this.lines.set(entry.id, line);
            this.log.append(line);
        }
        line.classList.toggle("growing", !entry.whole);
        // Read aloud once it is whole, not word by word.
        line.setAttribute("aria-busy", String(!entry.whole));
        line.classList.toggle("cut", entry.cut);
        const [, words, note] = line.children as unknown as [HTMLElement, HTMLElement, HTMLElement];
        const heard = entry.cut && entry.heard !== undefined && entry.text.startsWith(entry.heard) ? entry.heard : entry.text;
        const unheard = entry.text.slice(heard.length);
        if (unheard) {
            if (words.textContent !== entry.text || !words.querySelector("s")) {
                words.replaceChildren(heard, make("s", { title: "Not heard: you interrupted." }, unheard));
            }
        } else write(words, entry.text || (entry.who === "you" ? "…" : ""));
        write(note, this.note(entry));
    }

    private note(entry: Entry): string {
        if (entry.who === "you") return "";
        const notes: string[] = [];
        const target = entry.turn?.attempts.find((attempt) => !attempt.work && attempt.status !== "failed");
        if (entry.turn?.route) notes.push(target ? `${target.provider}/${target.model}` : (entry.turn.route.targets[0] ?? ""));
        if (entry.turn?.at.heard !== undefined) notes.push(`heard after ${seconds(entry.turn.at.heard)}`);
        if (entry.cut) notes.push("interrupted");
        return notes.filter(Boolean).join(" · ");
    }
}
