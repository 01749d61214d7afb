// What runs on the audio thread: a meter, a microphone for the WebSocket, and the playout of what comes over it.

import { Resampler } from "./resampler";

declare const sampleRate: number;
declare const currentTime: number;
declare class AudioWorkletProcessor {
    readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void;

/** Rate of the sound in the protocol, Hz. */
const RATE = 24_000;

/** Tells every 10 ms how loud it was. */
class Loudness {
    private power = 0;
    private count = 0;
    private readonly each = Math.round(sampleRate / 100);

    constructor(private readonly port: MessagePort) {}

    take(sound: Float32Array | undefined, length: number): void {
        for (let at = 0; at < length; at++) {
            const sample = sound?.[at] ?? 0;
            this.power += sample * sample;
            if (++this.count === this.each) {
                const db = 10 * Math.log10(Math.max(this.power / this.count, 1e-12));
                this.port.postMessage({ seconds: currentTime + at / sampleRate, db });
                this.power = this.count = 0;
            }
        }
    }
}

class Meter extends AudioWorkletProcessor {
    private readonly loudness = new Loudness(this.port);

    process([input]: Float32Array[][]): boolean {
        this.loudness.take(input?.[0], input?.[0]?.length ?? 128);
        return true;
    }
}

/** Gives the microphone's sound as PCM16 at 24 kHz, 20 ms at a time. */
class Capture extends AudioWorkletProcessor {
    private readonly resampler = new Resampler(sampleRate, RATE);
    private pcm = new Int16Array(RATE / 50);
    private filled = 0;

    process([input]: Float32Array[][]): boolean {
        const sound = input?.[0];
        if (!sound) return true;
        for (const sample of this.resampler.push(sound)) {
            this.pcm[this.filled++] = Math.max(-1, Math.min(1, sample)) * 32767;
            if (this.filled === this.pcm.length) {
                this.port.postMessage(this.pcm, [this.pcm.buffer]);
                this.pcm = new Int16Array(RATE / 50);
                this.filled = 0;
            }
        }
        return true;
    }
}

/** The sound of one answer. */
interface Answer {
    response: string;
    chunks: Float32Array[];
    at: number; // in the first chunk
    played: number; // samples
    whole: boolean;
}

/** Plays answers one after the other, and tells of their beginning, their end, and how much was played where they were cut. */
class Playout extends AudioWorkletProcessor {
    private readonly loudness = new Loudness(this.port);
    private answers: Answer[] = [];

    constructor() {
        super();
        this.port.onmessage = ({ data }) => this.told(data);
    }

    private told(message: { push?: Float32Array; whole?: boolean; flush?: boolean; response?: string }): void {
        if (message.flush) {
            for (const { response, played } of this.answers) this.port.postMessage({ cleared: response, ms: (played / RATE) * 1000 });
            this.answers = [];
            return;
        }
        const response = message.response ?? "";
        let answer = this.answers.find((answer) => answer.response === response);
        if (message.whole) {
            if (answer) answer.whole = true;
            return;
        }
        if (!answer) this.answers.push((answer = { response, chunks: [], at: 0, played: 0, whole: false }));
        if (message.push) answer.chunks.push(message.push);
    }

    process(_: unknown, [output]: Float32Array[][]): boolean {
        const out = output?.[0];
        if (!out) return true;
        let filled = 0;
        while (filled < out.length && this.answers[0]) {
            const answer = this.answers[0];
            const chunk = answer.chunks[0];
            if (!chunk) {
                if (!answer.whole) break;
                this.port.postMessage({ stopped: answer.response });
                this.answers.shift();
                continue;
            }
            if (answer.played === 0) this.port.postMessage({ started: answer.response });
            const length = Math.min(out.length - filled, chunk.length - answer.at);
            out.set(chunk.subarray(answer.at, answer.at + length), filled);
            filled += length;
            answer.at += length;
            answer.played += length;
            if (answer.at === chunk.length) {
                answer.chunks.shift();
                answer.at = 0;
            }
        }
        this.loudness.take(out, out.length);
        return true;
    }
}

registerProcessor("meter", Meter);
registerProcessor("capture", Capture);
registerProcessor("playout", Playout);
