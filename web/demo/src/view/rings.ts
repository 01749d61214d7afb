// The circle: two voices as two sets of rings, the caller's outside, the answer's inside. They swell with the sound and come to rest with it.

import type { Phase } from "../conversation";

/** How many waves run around each ring: the harmonics of one string. */
const HARMONICS = [2, 3, 5, 7];
/** Sound this quiet moves nothing; full scale moves all. dB. */
const FLOOR_DB = -55;

export class Rings {
    private readonly context: CanvasRenderingContext2D;
    private readonly still = matchMedia("(prefers-reduced-motion: reduce)");
    private you = 0;
    private timbre = 0;
    private aimYou = 0;
    private aimTimbre = 0;
    private frame = 0;
    phase: Phase = "idle";

    constructor(private readonly canvas: HTMLCanvasElement) {
        this.context = canvas.getContext("2d")!;
        new ResizeObserver(() => this.draw(0)).observe(canvas);
        matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw(0));
    }

    spoken(db: number): void {
        this.aimYou = strength(db);
    }

    heard(db: number): void {
        this.aimTimbre = strength(db);
    }

    /** Moves as long as a call lasts. */
    run(): void {
        if (this.frame) return;
        const step = (now: number) => {
            this.frame = requestAnimationFrame(step);
            this.you += (this.aimYou - this.you) * (this.aimYou > this.you ? 0.4 : 0.12);
            this.timbre += (this.aimTimbre - this.timbre) * (this.aimTimbre > this.timbre ? 0.4 : 0.12);
            this.draw(this.still.matches ? 0 : now / 1000);
        };
        this.frame = requestAnimationFrame(step);
    }

    rest(): void {
        cancelAnimationFrame(this.frame);
        this.frame = this.you = this.timbre = this.aimYou = this.aimTimbre = 0;
        this.draw(0);
    }

    private draw(time: number): void {
        const { canvas, context } = this;
        const size = canvas.clientWidth;
        const scale = Math.min(devicePixelRatio, 2);
        if (canvas.width !== size * scale) canvas.width = canvas.height = size * scale;
        context.setTransform(scale, 0, 0, scale, 0, 0);
        context.clearRect(0, 0, size, size);
        context.translate(size / 2, size / 2);
        const style = getComputedStyle(canvas);
        const unit = size / 2;
        // While it thinks, the inner rings breathe; else what moves is sound alone.
        const breath = this.phase === "thinking" || this.phase === "connecting" ? 0.16 + 0.1 * Math.sin(time * 3.2) : 0;
        HARMONICS.forEach((waves, at) => {
            const share = 1 - at * 0.17;
            this.ring(unit * (0.74 + at * 0.055), waves + 1, unit * 0.07 * this.you * share, time * (0.5 + at * 0.17), style.getPropertyValue("--you"), 0.85 - at * 0.17, this.you);
            this.ring(unit * (0.62 - at * 0.05), waves, unit * 0.085 * Math.max(this.timbre, breath) * share, -time * (0.4 + at * 0.13), style.getPropertyValue("--timbre"), 0.9 - at * 0.19, this.timbre);
        });
    }

    private ring(radius: number, waves: number, swing: number, turn: number, colour: string, alpha: number, loud: number): void {
        const { context } = this;
        context.beginPath();
        for (let step = 0; step <= 180; step++) {
            const angle = (step / 180) * 2 * Math.PI;
            const r = radius + swing * Math.sin(waves * angle + turn * waves) * (0.7 + 0.3 * Math.cos(angle * 2 - turn));
            context.lineTo(r * Math.cos(angle), r * Math.sin(angle));
        }
        context.closePath();
        context.strokeStyle = colour;
        context.globalAlpha = alpha * (0.45 + 0.55 * loud);
        context.lineWidth = 1.1 + 1.3 * loud;
        context.stroke();
        context.globalAlpha = 1;
    }
}

function strength(db: number): number {
    return Math.max(0, Math.min(1, (db - FLOOR_DB) / -FLOOR_DB)) ** 1.3 * 1.6;
}
