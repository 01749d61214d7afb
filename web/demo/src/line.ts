// What a call is to the page, whichever way it is carried.

import type { ServerEvent } from "./protocol";

/** 10 ms of sound, as loud as this. */
export interface Level {
    /** When it sounded, ms on the clock of `performance.now()`. */
    at: number;
    /** Root mean square, dB of full scale. */
    db: number;
}

/** What a line tells. */
export interface Ears {
    /** The server said something. Both transports tell when an answer starts and stops to sound (`output_audio_buffer.*`). */
    event(event: ServerEvent): void;
    /** The caller's own sound. */
    spoken(level: Level): void;
    /** The answer's sound. */
    heard(level: Level): void;
    /** The call is over, by whatever cause but our own. */
    lost(why: string): void;
}

/** A call in progress. */
export interface Line {
    readonly name: "WebRTC" | "WebSocket";
    send(event: object): void;
    /** Falls silent at once. */
    silence(): void;
    close(): void;
}

/** Where the server is, by the page's own address. */
export const API = new URL("v1/", document.baseURI);

export function authorization(key: string): Record<string, string> {
    return key ? { Authorization: `Bearer ${key}` } : {};
}

/** Maps a clock of seconds onto `performance.now()`: messages come late by what they waited, never early. */
export function clock(): (seconds: number) => number {
    let offset = Infinity;
    return (seconds) => {
        offset = Math.min(offset, performance.now() - seconds * 1000);
        return seconds * 1000 + offset;
    };
}
