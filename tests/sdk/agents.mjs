// What the suites of OpenAI's agents SDK share: its connection to the server, and what it makes of the events that come over it.

import { readFileSync } from "node:fs";

import { OpenAIRealtimeWebSocket } from "@openai/agents-realtime";
import { WebSocket } from "ws";

const SDK = new URL("node_modules/@openai/agents-realtime/", import.meta.url);
const { version } = JSON.parse(readFileSync(new URL("package.json", SDK)));
const { parseRealtimeEvent } = await import(new URL("dist/openaiRealtimeEvents.mjs", SDK));

/** Its transport to the server at `url`, which has no TLS, as the SDK insists; `told` gets every event as it came. */
export function transportTo(url, told) {
    return new OpenAIRealtimeWebSocket({
        useInsecureApiKey: true,
        url: `${url.replace("http", "ws")}/realtime?model=gpt-realtime`,
        createWebSocket: async ({ url, apiKey }) => {
            const headers = { Authorization: `Bearer ${apiKey}`, "X-OpenAI-Agents-SDK": `openai-agents-sdk.${version}` };
            const socket = new WebSocket(url, { headers });
            socket.on("message", (message) => told.push(JSON.parse(message)));
            return socket;
        },
    });
}

/** The types of those events that it does not know, or finds misshapen. */
export function strangers(told) {
    const strange = told.filter((event) => parseRealtimeEvent({ data: JSON.stringify(event) }).isGeneric);
    return [...new Set(strange.map(({ type }) => type))];
}
