// OpenAI's agents SDK in a real Chromium, as it is published for browsers, on a page of somebody else's website: a call over WebRTC with a key
// of its own, in which a recorded speaker asks a question that takes a tool, then another, and interrupts what is said to it.
//
// TIMBRE_REALTIME_URL is the server's base URL (ending in /v1), TIMBRE_API_KEY its key, TIMBRE_RECORDING is two_cities.wav; the server's
// language model is the one of test_agents.py. Without Chromium it is skipped.

import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { createServer } from "node:http";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

import { listenIn, place, withBrowser } from "../browser/chromium.mjs";
import { part, read, silence, write } from "../browser/sound.mjs";
import { strangers } from "./agents.mjs";

const { TIMBRE_REALTIME_URL: SERVER, TIMBRE_API_KEY: KEY, TIMBRE_RECORDING: RECORDING } = process.env;
const given = SERVER && KEY && RECORDING;
const skip = given ? !place() && "there is no Chromium" : "no server with real models (TIMBRE_REALTIME_URL, TIMBRE_API_KEY, TIMBRE_RECORDING)";
/** The SDK's files for browsers. */
const BUNDLE = new URL("node_modules/@openai/agents-realtime/dist/bundle/", import.meta.url);
const PAGE = `<!doctype html><link rel="icon" href="data:,">
<script type="module">window.sdk = await import("./openai-realtime-agents.mjs")</script>`;
/** Nothing that is waited for takes longer, ms; loaded machines are slow. */
const PATIENCE = 40_000;

/** "It was the best of times": a question, another once that is answered, and a third into the answer to it. */
function speech() {
    const times = part(read(RECORDING), 1.0, 2.75);
    return write(silence(1.5), times, silence(7), times, silence(8), times, silence(60));
}

/** The website that has the agent: a page, and the SDK's own files. */
async function website() {
    const server = createServer(({ url }, response) => {
        response.setHeader("Content-Type", url === "/" ? "text/html" : "text/javascript");
        if (url === "/") response.end(PAGE);
        else createReadStream(fileURLToPath(new URL(basename(url), BUNDLE))).on("error", () => response.writeHead(404).end()).pipe(response);
    });
    await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
    return server;
}

/** What the website's own server does: it has the key, and makes one for a single call of it. */
async function ephemeralKey() {
    const headers = { Authorization: `Bearer ${KEY}`, "Content-Type": "application/json" };
    const body = JSON.stringify({ session: { type: "realtime", model: "gpt-realtime" } });
    const answer = await fetch(`${SERVER}/realtime/client_secrets`, { method: "POST", headers, body });
    assert.ok(answer.ok, await answer.clone().text());
    return (await answer.json()).value;
}

/** In the page, before anything of it runs: every event as it came. */
function keepEvents() {
    window.told = [];
    const create = RTCPeerConnection.prototype.createDataChannel;
    RTCPeerConnection.prototype.createDataChannel = function (...given) {
        const channel = create.apply(this, given);
        channel.addEventListener("message", ({ data }) => window.told.push(JSON.parse(data)));
        return channel;
    };
}

/** In the page: the agent. `seen` is what became of it. */
async function talk({ apiKey, baseUrl }) {
    const { OpenAIRealtimeWebRTC, RealtimeAgent, RealtimeSession, tool } = window.sdk;
    const seen = (window.seen = []);
    const getWeather = tool({
        name: "get_weather",
        description: "The weather of a city.",
        parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false },
        execute: async ({ city }) => {
            seen.push("tool");
            return `sunny in ${city}`;
        },
    });
    const agent = new RealtimeAgent({ name: "Weather", instructions: "Answer in one sentence.", tools: [getWeather] });
    const transport = new OpenAIRealtimeWebRTC({ baseUrl });
    const session = (window.session = new RealtimeSession(agent, { transport, model: "gpt-realtime" }));
    session.on("error", ({ error }) => seen.push(`error: ${JSON.stringify(error?.error ?? error)}`));
    transport.on("connection_change", (state) => seen.push(state));
    await session.connect({ apiKey });
    return transport.callId;
}

/** In the page: what the agent says now, as the SDK knows it, and what is left of an answer that was interrupted. */
function spoken() {
    const said = window.session.history.filter(({ role }) => role === "assistant");
    const words = (item) => item?.content[0]?.transcript ?? "";
    return { now: words(said.at(-1)), left: words(said.find(({ status }) => status === "incomplete")) };
}

test("@openai/agents-realtime holds a call in a browser and understands every event", { skip, timeout: 120_000 }, async () => {
    const site = await website();
    try {
        await withBrowser(speech(), async (browser) => {
            const page = await (await browser.newContext({ permissions: ["microphone"] })).newPage();
            page.setDefaultTimeout(PATIENCE);
            const complaints = [];
            page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
            page.on("pageerror", (error) => complaints.push(String(error)));
            await page.addInitScript(listenIn);
            await page.addInitScript(keepEvents);
            await page.addInitScript(`window.spoken = ${spoken}`);
            await page.goto(`http://127.0.0.1:${site.address().port}/`);
            await page.waitForFunction(() => window.sdk);
            const callId = await page.evaluate(talk, { apiKey: await ephemeralKey(), baseUrl: `${SERVER}/realtime/calls` });
            assert.match(callId, /^rtc_/, "a page of another website reads where the call is");

            const until = async (what, enough) => {
                try {
                    await page.waitForFunction(enough);
                } catch (error) {
                    const seen = await page.evaluate(() => [window.seen, window.told.map(({ type }) => type), window.spoken()]);
                    assert.fail(`never: ${what}: ${error.message}: ${JSON.stringify([...seen, complaints])}`);
                }
            };
            await until("the tool is called", () => window.seen.includes("tool"));
            await until("what it said is told", () => window.spoken().now.includes("sunny"));
            await until("that is heard", () => window.__heard.rms > 0.01);
            await until("a story is told", () => window.spoken().now.includes("story"));
            await until("that is heard", () => window.__heard.rms > 0.01);
            await until("it is interrupted", () => window.told.some(({ type }) => type === "output_audio_buffer.cleared"));
            await until("it falls silent", () => window.__heard.rms < 0.001);
            await until("only what was heard of it is kept", () => /^This is sentence/.test(window.spoken().left) && !window.spoken().left.includes("number 9"));
            const { told, seen } = await page.evaluate(() => ({ told: window.told, seen: window.seen }));
            await page.evaluate(() => window.session.close());
            assert.deepEqual(seen, ["connecting", "connected", "tool"]);
            assert.deepEqual(strangers(told), []);
            assert.deepEqual(complaints, []);
        });
    } finally {
        site.close();
    }
});
