// What is known of the call: its words, whose turn it is, and when what happened in each turn. Events go in, nothing comes out: the views
// read it.

import type { Attempt, Route, ServerEvent, Signals } from "./protocol";

export type Phase = "idle" | "connecting" | "listening" | "hearing" | "thinking" | "speaking" | "interrupted" | "error";

/** What somebody said. */
export interface Entry {
    id: string;
    who: "you" | "timbre";
    text: string;
    /** Nothing more comes. */
    whole: boolean;
    /** The answer was cut; what was heard of it, once the server has said. */
    cut: boolean;
    heard?: string;
    turn?: Turn;
}

/** The stages of a turn, in the order in which they are drawn. */
export const STAGES = ["end", "words", "route", "first", "sound", "heard"] as const;
export type Stage = (typeof STAGES)[number];

/** One turn: from the last sound of the caller to the first of the answer. */
export interface Turn {
    number: number;
    /** The caller's item; empty where the turn was typed. */
    item: string;
    response: string;
    /** When the caller fell silent, or sent; ms of `performance.now()`. */
    from: number;
    /** ms after that. */
    at: Partial<Record<Stage, number>>;
    typed: boolean;
    route?: Route;
    attempts: Attempt[];
    signals?: Signals;
    ended?: string;
}

/** How long the page says that it was interrupted, ms. */
export const INTERRUPTED_MS = 900;
/** An answer is heard from here on, dB of full scale: below lies the noise of a codec. */
const AUDIBLE_DB = -55;
/** A caller's voice stands out of the room by this, dB, and is louder than `VOICE_DB`. */
const ABOVE_ROOM_DB = 12;
const VOICE_DB = -50;
/** Where the microphone was silent for longer, ms, its last sound was not the end of the turn. */
const STALE_MS = 4_000;

export class Conversation {
    phase: Phase = "idle";
    entries: Entry[] = [];
    turns: Turn[] = [];
    /** What was said of the session. */
    model = "";
    voice = "";
    /** The answer in progress, and the one that sounds. */
    active = "";
    sounding = "";
    /** What the server complained of, for the page to show once. */
    complaint = "";
    private room = -60;
    private lastVoice = 0;
    private interruptedAt = 0;

    /** The caller's own sound, by which the end of their turn is told as they know it. */
    spoken(at: number, db: number): void {
        // The room is what is quiet for long: it is learnt quickly downwards, slowly upwards.
        this.room += (Math.max(db, -90) - this.room) * (db < this.room ? 0.1 : 0.001);
        if (db > Math.max(this.room + ABOVE_ROOM_DB, VOICE_DB)) this.lastVoice = at;
    }

    /** The answer's sound: the first that can be heard ends the wait. */
    heard(at: number, db: number): boolean {
        const turn = this.turns.at(-1);
        if (db < AUDIBLE_DB || !turn || turn.at.heard !== undefined || !turn.response || this.sounding !== turn.response) return false;
        // The meter's clock and that of the events differ by a few milliseconds: nothing is heard before it is sent.
        turn.at.heard = Math.max(at - turn.from, turn.at.sound ?? 0);
        return true;
    }

    /** The caller typed something. */
    typed(id: string, text: string, now: number): void {
        const turn = this.begin("", now, true);
        this.entries.push({ id, who: "you", text, whole: true, cut: false, turn });
        this.phase = "thinking";
    }

    /** After an interruption, whose turn it is now. */
    settle(now: number): void {
        if (this.phase === "interrupted" && now - this.interruptedAt >= INTERRUPTED_MS) this.phase = "hearing";
    }

    take(event: ServerEvent, now: number): void {
        const turn = event.response_id ? this.turns.find((turn) => turn.response === event.response_id) : undefined;
        switch (event.type) {
            case "session.created":
            case "session.updated":
                this.model = event.session?.model ?? this.model;
                this.voice = event.session?.audio?.output?.voice ?? this.voice;
                break;
            case "input_audio_buffer.speech_started":
                this.interrupt(now);
                this.entry(event.item_id, "you");
                break;
            case "input_audio_buffer.speech_stopped": {
                const fresh = this.lastVoice > 0 && now - this.lastVoice < STALE_MS;
                const turn = this.begin(event.item_id ?? "", fresh ? this.lastVoice : now, false);
                turn.at.end = now - turn.from;
                this.entry(event.item_id, "you").turn = turn;
                this.phase = "thinking";
                break;
            }
            case "conversation.item.input_audio_transcription.delta":
                this.entry(event.item_id, "you").text += event.delta ?? "";
                break;
            case "conversation.item.input_audio_transcription.completed":
                this.transcribed(event, now);
                break;
            case "conversation.item.input_audio_transcription.failed":
                this.drop(event.item_id);
                this.complaint = "These words could not be heard. Say them again?";
                this.quiet();
                break;
            case "timbre.signals": {
                const turn = this.turns.find((turn) => turn.item === event.item_id);
                if (turn && event.signals) turn.signals = event.signals;
                break;
            }
            case "response.created":
                this.answering(event.response?.id ?? "", now);
                break;
            case "timbre.route":
                if (turn) {
                    const { router = null, route = "", variant = null, reason = "", targets = [] } = event;
                    turn.route = { router, route, variant, reason, targets };
                    turn.at.route ??= now - turn.from;
                }
                break;
            case "response.output_audio_transcript.delta":
            case "response.output_text.delta": {
                const entry = this.entry(event.item_id, "timbre");
                entry.text = (entry.text + (event.delta ?? "")).trimStart();
                entry.turn = turn;
                if (turn) turn.at.first ??= now - turn.from;
                break;
            }
            case "response.output_audio.delta":
                if (turn) turn.at.sound ??= now - turn.from;
                break;
            case "output_audio_buffer.started":
                this.sounding = event.response_id ?? "";
                if (turn) turn.at.sound ??= now - turn.from;
                this.phase = "speaking";
                break;
            case "output_audio_buffer.stopped":
            case "output_audio_buffer.cleared":
                if (this.sounding === event.response_id) this.sounding = "";
                this.quiet();
                break;
            case "response.done":
                this.answered(event, turn);
                break;
            case "conversation.item.retrieved": {
                const entry = this.entries.find((entry) => entry.id === event.item?.id);
                const part = event.item?.content?.[0];
                if (entry) entry.heard = (part?.transcript ?? part?.text ?? "").trimStart();
                break;
            }
            case "error":
                // An answer that was over already cannot be stopped, nor cut: nobody needs to know.
                if (!/cancel|truncate|item_not_found/.test(event.error?.code ?? "")) this.complaint = event.error?.message ?? "";
                break;
        }
    }

    private begin(item: string, from: number, typed: boolean): Turn {
        const turn: Turn = { number: this.turns.length + 1, item, response: "", from, at: {}, typed, attempts: [] };
        this.turns.push(turn);
        return turn;
    }

    private entry(id = "", who: Entry["who"]): Entry {
        let entry = this.entries.find((entry) => entry.id === id);
        if (!entry) this.entries.push((entry = { id, who, text: "", whole: false, cut: false }));
        return entry;
    }

    private drop(id = ""): void {
        this.entries = this.entries.filter((entry) => entry.id !== id);
        this.turns = this.turns.filter((turn) => turn.item !== id || turn.response);
    }

    private interrupt(now: number): void {
        const cut = this.sounding !== "" || this.phase === "speaking";
        this.phase = cut ? "interrupted" : "hearing";
        this.interruptedAt = now;
        const last = this.entries.at(-1);
        if (cut && last?.who === "timbre") last.cut = true;
    }

    private transcribed(event: ServerEvent, now: number): void {
        const text = event.transcript?.trim() ?? "";
        if (!text) {
            this.drop(event.item_id);
            this.quiet();
            return;
        }
        const entry = this.entry(event.item_id, "you");
        Object.assign(entry, { text, whole: true });
        if (entry.turn) {
            entry.turn.at.words ??= now - entry.turn.from;
            if (event.signals) entry.turn.signals = event.signals;
        }
    }

    private answering(response: string, now: number): void {
        this.active = response;
        let turn = this.turns.at(-1);
        // An answer that nobody asked for in words, as after a tool.
        if (!turn || turn.response) turn = this.begin("", now, true);
        turn.response = response;
        if (this.phase !== "hearing") this.phase = "thinking";
    }

    private answered(event: ServerEvent, turn: Turn | undefined): void {
        const { id, status, status_details: details, timbre } = event.response ?? { id: "", status: "" };
        if (this.active === id) this.active = "";
        turn ??= this.turns.find((turn) => turn.response === id);
        if (turn) {
            turn.ended = status;
            turn.attempts = timbre?.attempts ?? [];
            if (timbre) turn.route ??= timbre;
        }
        for (const entry of this.entries) {
            if (entry.who !== "timbre" || entry.turn !== turn) continue;
            entry.whole = true;
            if (status === "cancelled") entry.cut = true;
        }
        if (status === "failed") this.complaint = details?.error?.message ?? "The answer failed.";
        this.quiet();
    }

    /** Nothing is said and nothing is awaited. */
    private quiet(): void {
        if ((this.phase === "speaking" || this.phase === "thinking") && !this.sounding && !this.active) this.phase = "listening";
    }
}
