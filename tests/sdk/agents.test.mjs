// openai-node and OpenAI's agents SDK hold spoken conversations with the server: two turns, a tool, an interruption.
//
// TIMBRE_REALTIME_URL is the server's base URL (ending in /v1), TIMBRE_RECORDING a recording of somebody speaking English; the server's
// language model is the one of test_agents.py. Both SDKs insist on wss://, so their connections are led to the server's plain port.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { test } from "node:test";

import { tool, RealtimeAgent, RealtimeSession } from "@openai/agents-realtime";
import OpenAI from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import { z } from "zod";

import { strangers, transportTo } from "./agents.mjs";

const url = process.env.TIMBRE_REALTIME_URL;
const recording = process.env.TIMBRE_RECORDING;
const skip = !(url && recording) && "no server with real models (TIMBRE_REALTIME_URL, TIMBRE_RECORDING)";
const { hostname, port } = new URL(url ?? "http://localhost");
const RATE = 24_000;
const STEP = (RATE / 50) * 2;

/** The beginning of the recording as PCM16 at 24 kHz, mono. */
function speech(seconds) {
    const file = readFileSync(recording);
    const at = file.indexOf("fmt ") + 8;
    const [channels, rate] = [file.readUInt16LE(at + 2), file.readUInt32LE(at + 4)];
    const data = file.indexOf("data", at) + 8;
    const samples = (file.length - data) / 2 / channels;
    const length = Math.min(Math.floor(seconds * RATE), Math.floor((samples * RATE) / rate) - 1);
    const pcm = Buffer.alloc(length * 2);
    for (let index = 0; index < length; index++) {
        const place = (index * rate) / RATE;
        const [from, part] = [Math.floor(place), place % 1];
        const sample = (n) => file.readInt16LE(data + Math.min(n, samples - 1) * 2 * channels);
        pcm.writeInt16LE(Math.round(sample(from) * (1 - part) + sample(from + 1) * part), index * 2);
    }
    return pcm;
}

/** Is always on: what is said is sent in pieces of 20 ms, and silence in between. */
class Microphone {
    waiting = Buffer.alloc(0);

    constructor(send) {
        const began = performance.now();
        let sent = 0;
        this.timer = setInterval(() => {
            for (; sent * 20 < performance.now() - began; sent++) {
                const piece = Buffer.alloc(STEP);
                this.waiting.copy(piece, 0, 0, STEP);
                this.waiting = this.waiting.subarray(STEP);
                send(piece);
            }
        }, 10);
    }

    say(seconds) {
        this.waiting = Buffer.concat([this.waiting, speech(seconds)]);
    }

    close() {
        clearInterval(this.timer);
    }
}

/** A question that takes a tool, its spoken answer, another question, and an interruption of what is then said. */
async function converse(microphone, seen) {
    const deadline = performance.now() + 90_000;
    const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    const until = async (what) => {
        while (!seen.includes(what)) {
            const wrong = seen.filter((event) => event.startsWith("error"));
            assert.deepEqual(wrong, []);
            assert.ok(performance.now() < deadline, `there was only ${seen}, not ${what}`);
            await pause(20);
        }
    };
    try {
        microphone.say(4.6);
        await until("tool");
        await until("answered");
        await pause(500);
        microphone.say(4.6);
        await until("speaking");
        await pause(500);
        microphone.say(3.0);
        await until("interrupted");
    } finally {
        microphone.close();
    }
}

test("openai-node holds a conversation", { skip, timeout: 120_000 }, async () => {
    const seen = [];
    const client = new OpenAI({ apiKey: "none", baseURL: url });
    const realtime = new OpenAIRealtimeWS({ model: "gpt-realtime", options: { createConnection: () => connect(port, hostname) } }, client);
    realtime.on("error", (error) => seen.push(`error: ${error.message}`));
    await new Promise((resolve) => realtime.socket.once("open", resolve));
    const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
    realtime.send({
        type: "session.update",
        session: { type: "realtime", instructions: "Answer in one sentence.", tools: [{ type: "function", name: "get_weather", parameters }] },
    });
    realtime.on("response.function_call_arguments.done", ({ call_id, name, arguments: given }) => {
        assert.deepEqual([name, JSON.parse(given)], ["get_weather", { city: "Paris" }]);
        seen.push("tool");
        const item = { type: "function_call_output", call_id, output: "sunny in Paris" };
        realtime.send({ type: "conversation.item.create", item });
    });
    realtime.on("response.done", ({ response }) => {
        if (response.output.some((item) => item.type === "function_call")) realtime.send({ type: "response.create" });
        if (response.status_details?.reason === "turn_detected" && seen.includes("speaking")) seen.push("interrupted");
    });
    realtime.on("response.output_audio_transcript.done", ({ transcript }) => transcript.includes("sunny") && seen.push("answered"));
    realtime.on("response.output_audio.delta", () => seen.includes("answered") && seen.push("speaking"));
    const send = (pcm) => realtime.send({ type: "input_audio_buffer.append", audio: pcm.toString("base64") });
    await converse(new Microphone(send), seen);
    realtime.close();
});

test("@openai/agents-realtime holds a conversation and understands every event", { skip, timeout: 120_000 }, async () => {
    const seen = [];
    const getWeather = tool({
        name: "get_weather",
        description: "The weather of a city.",
        parameters: z.object({ city: z.string() }),
        execute: async ({ city }) => {
            seen.push("tool");
            return `sunny in ${city}`;
        },
    });
    const agent = new RealtimeAgent({ name: "Weather", instructions: "Answer in one sentence.", tools: [getWeather] });
    const events = [];
    const transport = transportTo(url, events);
    const session = new RealtimeSession(agent, { transport, model: "gpt-realtime" });
    session.on("error", ({ error }) => seen.push(`error: ${JSON.stringify(error?.error ?? error)}`));
    session.on("audio_interrupted", () => seen.includes("speaking") && seen.push("interrupted"));
    session.on("audio", () => seen.includes("answered") && seen.push("speaking"));
    transport.on("audio_transcript_delta", () => {});
    session.on("history_updated", (history) => {
        const words = history.filter(({ role }) => role === "assistant").flatMap(({ content }) => content.map(({ transcript }) => transcript ?? ""));
        if (words.some((text) => text.includes("sunny"))) seen.push("answered");
    });
    await session.connect({ apiKey: "none" });
    await converse(new Microphone((pcm) => session.sendAudio(new Uint8Array(pcm).buffer)), seen);
    session.close();
    assert.ok(events.length > 30);
    assert.deepEqual(strangers(events), []);
});
