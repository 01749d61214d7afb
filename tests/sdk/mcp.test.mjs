// OpenAI's agents SDK names an MCP server in its session: it sees what tools there are, is asked for its approval of a call, and hears what the
// model makes of what the tool said, once.
//
// TIMBRE_REALTIME_URL is the server's base URL (ending in /v1), TIMBRE_MCP_URL and TIMBRE_MCP_TOKEN an MCP server with a tool `weather`; the
// language model calls it when it reads "call weather".

import assert from "node:assert/strict";
import { test } from "node:test";

import { hostedMcpTool, setTracingDisabled } from "@openai/agents";
import { RealtimeAgent, RealtimeSession } from "@openai/agents-realtime";

import { strangers, transportTo } from "./agents.mjs";

const { TIMBRE_REALTIME_URL: SERVER, TIMBRE_MCP_URL: TOOLS, TIMBRE_MCP_TOKEN: TOKEN } = process.env;
const skip = !(SERVER && TOOLS && TOKEN) && "no server (TIMBRE_REALTIME_URL, TIMBRE_MCP_URL, TIMBRE_MCP_TOKEN)";

/** Nothing that is waited for takes longer, ms. */
const PATIENCE = 20_000;
// Nothing is told OpenAI.
setTracingDisabled(true);

test("@openai/agents-realtime uses a tool of an MCP server", { skip, timeout: 60_000 }, async () => {
    const told = [];
    const transport = transportTo(SERVER, told);
    const home = hostedMcpTool({
        serverLabel: "home",
        serverUrl: TOOLS,
        // `authorization` the SDK keeps from realtime sessions.
        headers: { authorization: `Bearer ${TOKEN}`, "x-team": "blue" },
        allowedTools: ["weather"],
        requireApproval: { always: { toolNames: ["weather"] } },
    });
    const session = new RealtimeSession(new RealtimeAgent({ name: "Home", tools: [home] }), { transport, config: { outputModalities: ["text"] } });
    const broken = new Promise((_, reject) => session.on("error", ({ error }) => reject(new Error(JSON.stringify(error?.error ?? error)))));
    const next = (emitter, event) => {
        const late = new Promise((_, reject) => setTimeout(() => reject(new Error(`no ${event}: ${JSON.stringify(told)}`)), PATIENCE).unref());
        return Promise.race([broken, late, new Promise((resolve) => emitter.once(event, (...given) => resolve(given)))]);
    };
    const answers = () => told.filter(({ type }) => type === "response.output_text.done").map(({ text }) => text);
    try {
        const listed = next(session, "mcp_tools_changed");
        await session.connect({ apiKey: "none" });
        const [tools] = await listed;
        assert.deepEqual(tools.map(({ name }) => name), ["weather"]);

        const asked = next(session, "tool_approval_requested");
        const called = next(session, "mcp_tool_call_completed");
        const answered = next(transport, "response.output_text.done");
        session.sendMessage("call weather");
        const [, , { approvalItem }] = await asked;
        assert.equal(told.filter(({ type }) => type === "response.mcp_call.in_progress").length, 0, "nothing is called before that");
        await session.approve(approvalItem);
        const [, , call] = await called;
        assert.deepEqual([call.name, JSON.parse(call.arguments), call.output], ["weather", { city: "Paris" }, "sunny in Paris"]);
        await answered;
        // Another question is answered after all that is owed for this one.
        const thanked = next(transport, "response.output_text.done");
        session.sendMessage("Thank you.");
        await thanked;
        assert.equal(answers().length, 2, answers().join("; "));
        assert.match(answers()[0], /sunny in Paris/i);
        assert.deepEqual(strangers(told), []);
    } finally {
        session.close();
    }
});
