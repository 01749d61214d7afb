// Recordings as arrays of numbers in [-1, 1], in and out of WAV files.

import { readFileSync } from 'node:fs';

/** Rate of what Chromium's microphone is given, Hz. */
export const RATE = 48_000;

/** Mono PCM16 of a WAV file, at `RATE`. */
export function read(path) {
  const bytes = readFileSync(path);
  let rate = 0;
  for (let at = 12; at + 8 <= bytes.length; at += 8 + bytes.readUInt32LE(at + 4)) {
    const name = bytes.toString('latin1', at, at + 4);
    if (name === 'fmt ') {
      rate = bytes.readUInt32LE(at + 12);
      if (bytes.readUInt16LE(at + 10) !== 1 || bytes.readUInt16LE(at + 22) !== 16) throw new Error(`${path} is not mono of 16 bits`);
    }
    if (name !== 'data') continue;
    const length = Math.min(bytes.readUInt32LE(at + 4), bytes.length - at - 8) >> 1;
    return resample(Float32Array.from({ length }, (_, index) => bytes.readInt16LE(at + 8 + index * 2) / 32_768), rate);
  }
  throw new Error(`${path} holds no sound`);
}

/** By straight lines: good enough to be understood. */
function resample(sound, rate) {
  const step = rate / RATE;
  return Float32Array.from({ length: Math.floor((sound.length - 1) / step) }, (_, index) => {
    const at = index * step;
    const whole = Math.floor(at);
    return sound[whole] + (sound[Math.min(whole + 1, sound.length - 1)] - sound[whole]) * (at - whole);
  });
}

export const part = (sound, from, to) => sound.subarray(Math.round(from * RATE), Math.round(to * RATE));
export const silence = (seconds) => new Float32Array(Math.round(seconds * RATE));

/** The bytes of a WAV file. */
export function write(...parts) {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const bytes = Buffer.alloc(44 + length * 2);
  bytes.write('RIFF', 0);
  bytes.writeUInt32LE(36 + length * 2, 4);
  bytes.write('WAVEfmt ', 8);
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(1, 20);
  bytes.writeUInt16LE(1, 22);
  bytes.writeUInt32LE(RATE, 24);
  bytes.writeUInt32LE(RATE * 2, 28);
  bytes.writeUInt16LE(2, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write('data', 36);
  bytes.writeUInt32LE(length * 2, 40);
  let at = 44;
  for (const sound of parts) for (const sample of sound) at = bytes.writeInt16LE(Math.max(-1, Math.min(1, sample)) * 32_767, at);
  return bytes;
}
