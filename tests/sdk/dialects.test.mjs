// openai-node and @anthropic-ai/sdk, unmodified, against a server whose models answer by rote: TIMBRE_BASE_URL (ends in /v1).
import assert from "node:assert/strict";
import { test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const base = process.env.TIMBRE_BASE_URL;
const apiKey = process.env.TIMBRE_API_KEY ?? "none";
const claude = new Anthropic({ baseURL: base.replace(/\/v1$/, ""), apiKey, maxRetries: 0 });
const client = new OpenAI({ baseURL: base, apiKey, maxRetries: 0 });
const ask = (content) => [{ role: "user", content }];
const schema = { type: "object", properties: { city: { type: "string" } } };

test("a message is answered whole and streamed", async () => {
  const message = await claude.messages.create({ model: "fake/echo", max_tokens: 16, messages: ask("hi") });
  assert.equal(message.content[0].text, "You said: hi.");
  assert.equal(message.timbre.route, "direct");
  const stream = claude.messages.stream({ model: "fake/thinker", max_tokens: 16, messages: ask("2+2?") });
  const [thinking, text] = (await stream.finalMessage()).content;
  assert.deepEqual([thinking.thinking, thinking.signature, text.text], ["Hm.", "sealed", "Four."]);
});

test("a message calls tools", async () => {
  const tools = [{ name: "weather", input_schema: schema }];
  const message = await claude.messages.stream({ model: "fake/two-tools", max_tokens: 16, messages: ask("?"), tools }).finalMessage();
  assert.deepEqual(message.content.slice(1).map((block) => block.input.city), ["Rome", "Oslo"]);
  assert.equal(message.stop_reason, "tool_use");
});

test("tokens are counted", async () => {
  assert.ok((await claude.messages.countTokens({ model: "fake/echo", messages: ask("hi") })).input_tokens > 0);
});

test("errors of messages become the SDK's own", async () => {
  const create = (model, extra) => claude.messages.create({ model, max_tokens: 16, messages: ask("hi"), ...extra });
  await assert.rejects(create("nobody/nothing"), Anthropic.NotFoundError);
  await assert.rejects(create("fake/busy", { stream: true }), Anthropic.RateLimitError);
  await assert.rejects(claude.messages.stream({ model: "fake/broken", max_tokens: 16, messages: ask("hi") }).finalMessage(), /broke off/);
});

test("a response is answered whole and streamed", async () => {
  const response = await client.responses.create({ model: "fake/echo", input: "hi" });
  assert.equal(response.output_text, "You said: hi.");
  const stream = client.responses.stream({ model: "fake/two-tools", input: "?", tools: [{ type: "function", name: "weather", parameters: schema, strict: false }] });
  const { output } = await stream.finalResponse();
  assert.deepEqual(output.slice(1).map((item) => JSON.parse(item.arguments).city), ["Rome", "Oslo"]);
});

test("errors of responses become the SDK's own", async () => {
  await assert.rejects(client.responses.create({ model: "nobody/nothing", input: "hi" }), OpenAI.NotFoundError);
  await assert.rejects(async () => {
    for await (const _ of await client.responses.create({ model: "fake/broken", input: "hi", stream: true }));
  }, /broke off/);
});

test("texts become vectors", async () => {
  const { data } = await client.embeddings.create({ model: "fake/letters", input: "abc" });
  assert.deepEqual(Array.from(data[0].embedding), [97, 98, 99]);
});

test("a text goes on", async () => {
  const answer = await client.completions.create({ model: "fake/echo", prompt: "hi" });
  assert.equal(answer.choices[0].text, "You said: hi.");
});
