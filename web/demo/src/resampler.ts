// Sound at another rate: a windowed sinc, looked up in a table.

const HALF = 16; // taps on either side
const PHASES = 256; // places between two samples; -96 dB of error at speech's bandwidth would take no more

export class Resampler {
    private readonly step: number;
    private readonly table: Float32Array;
    private waiting = new Float32Array(2 * HALF);
    private position = HALF; // of the next sample, in `waiting`

    /** Rates in Hz. */
    constructor(from: number, to: number) {
        this.step = from / to;
        const cutoff = Math.min(1, to / from) * 0.94;
        this.table = new Float32Array((PHASES + 1) * 2 * HALF);
        for (let phase = 0; phase <= PHASES; phase++) {
            for (let tap = 0; tap < 2 * HALF; tap++) {
                const x = tap - HALF + 1 - phase / PHASES;
                const sinc = x === 0 ? 1 : Math.sin(Math.PI * cutoff * x) / (Math.PI * cutoff * x);
                // Blackman's window, whose side lobes lie below those of speech's neighbours.
                const w = Math.PI * (x / HALF);
                const window = Math.abs(x) >= HALF ? 0 : 0.42 + 0.5 * Math.cos(w) + 0.08 * Math.cos(2 * w);
                this.table[phase * 2 * HALF + tap] = cutoff * sinc * window;
            }
        }
    }

    push(sound: Float32Array): Float32Array {
        const all = new Float32Array(this.waiting.length + sound.length);
        all.set(this.waiting);
        all.set(sound, this.waiting.length);
        const made: number[] = [];
        while (this.position + HALF < all.length) {
            const whole = Math.floor(this.position);
            const row = Math.round((this.position - whole) * PHASES) * 2 * HALF;
            let sum = 0;
            for (let tap = 0; tap < 2 * HALF; tap++) sum += all[whole - HALF + 1 + tap]! * this.table[row + tap]!;
            made.push(sum);
            this.position += this.step;
        }
        const from = Math.max(0, Math.floor(this.position) - HALF);
        this.waiting = all.slice(from);
        this.position -= from;
        return Float32Array.from(made);
    }
}
