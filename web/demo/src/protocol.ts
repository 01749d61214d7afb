// The events of OpenAI's realtime dialect that this page reads, and Timbre's own beside them (docs/webrtc.md).

/** A signal: what was measured of the speaker, how sure its source is (0 to 1), and the source. */
export interface Signal {
    value: number | string;
    confidence: number;
    source: string;
    /** Of an emotion: how awake and how pleasant, 0 to 1. */
    arousal?: number;
    valence?: number;
    /** Of a hesitation: what it was told from, with its times where they are known. */
    parts?: { type: string; start?: number; end?: number }[];
    /** Of a pitch: where the voice lies among all. */
    register?: string;
}

/** How the turn lies in the call. */
export type Dynamics = Record<string, number | null>;

export type Signals = Record<string, Signal> | { dynamics?: Dynamics };

/** Who answers, and why. */
export interface Route {
    router: string | null;
    route: string;
    variant: string | null;
    reason: string;
    targets: string[];
}

/** One try at one model, or one piece of work beside the answer. */
export interface Attempt {
    provider: string;
    model: string;
    status: string;
    latencyMs: number;
    firstTokenMs?: number;
    costUsd?: number;
    work?: string;
    error?: string;
}

export interface Item {
    id: string;
    type: string;
    role?: string;
    content?: { type: string; text?: string; transcript?: string | null }[];
}

export interface ServerResponse {
    id: string;
    status: string;
    status_details?: { reason?: string; error?: { message?: string } } | null;
    timbre?: Route & { attempts: Attempt[] };
}

/** An event of the server; which fields it has, its type says. What is not known here is passed over. */
export interface ServerEvent {
    type: string;
    item_id?: string;
    response_id?: string;
    delta?: string;
    transcript?: string;
    text?: string;
    signals?: Signals;
    item?: Item;
    response?: ServerResponse;
    session?: { model?: string; audio?: { output?: { voice?: string } } };
    error?: { code?: string; message?: string };
    router?: string | null;
    route?: string;
    variant?: string | null;
    reason?: string;
    targets?: string[];
}

/** How the page asks a call to be. Empty strings leave it to the server. */
export interface Wishes {
    model: string;
    voice: string;
    language: string;
}

/** The session that these wishes stand for. */
export function session(wishes: Wishes): object {
    return {
        type: "realtime",
        model: wishes.model || null,
        audio: {
            input: { transcription: { language: wishes.language || null } },
            output: { voice: wishes.voice || null },
        },
        // The browser takes the echo out of its microphone by itself.
        providerData: { echo_cancellation: "off" },
    };
}
