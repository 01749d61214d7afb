// openai-node, unmodified, against a server: TIMBRE_BASE_URL (ends in /v1), TIMBRE_MODEL (else the first of the list).
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import OpenAI, { toFile } from "openai";

const client = new OpenAI({ baseURL: process.env.TIMBRE_BASE_URL, apiKey: process.env.TIMBRE_API_KEY ?? "none", maxRetries: 0 });
const model = process.env.TIMBRE_MODEL || (await client.models.list()).data[0].id;
const messages = [{ role: "user", content: "Say hello." }];

/** A recording: TIMBRE_RECORDING, else one second of a tone. */
async function recording() {
  if (process.env.TIMBRE_RECORDING) return readFile(process.env.TIMBRE_RECORDING);
  const wav = Buffer.alloc(44 + 32000);
  wav.write("RIFF", 0);
  wav.writeUInt32LE(36 + 32000, 4);
  wav.write("WAVEfmt ", 8);
  wav.writeUInt32LE(16, 16);
  wav.writeUInt16LE(1, 20);
  wav.writeUInt16LE(1, 22);
  wav.writeUInt32LE(16000, 24);
  wav.writeUInt32LE(32000, 28);
  wav.writeUInt16LE(2, 32);
  wav.writeUInt16LE(16, 34);
  wav.write("data", 36);
  wav.writeUInt32LE(32000, 40);
  for (let n = 0; n < 16000; n++) wav.writeInt16LE(Math.trunc(6000 * Math.sin(n * 0.05)), 44 + 2 * n);
  return wav;
}

test("a chat is answered whole", async () => {
  const answer = await client.chat.completions.create({ model, messages, max_tokens: 16 });
  assert.ok(answer.choices[0].message.content);
  assert.ok(answer.timbre.route);
});

test("a chat is streamed", async () => {
  const stream = await client.chat.completions.create({ model, messages, max_tokens: 16, stream: true });
  let text = "";
  for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
  assert.ok(text);
});

test("a chat hears and speaks", async () => {
  const data = (await recording()).toString("base64");
  const content = [{ type: "text", text: "Say hello." }, { type: "input_audio", input_audio: { data, format: "wav" } }];
  const answer = await client.chat.completions.create({
    model,
    messages: [{ role: "user", content }],
    modalities: ["text", "audio"],
    audio: { voice: "alloy", format: "wav" },
    max_tokens: 16,
  });
  const { audio } = answer.choices[0].message;
  assert.ok(audio.transcript);
  assert.equal(Buffer.from(audio.data, "base64").subarray(0, 4).toString(), "RIFF");
});

test("text is spoken", async () => {
  const response = await client.audio.speech.create({ model: "tts-1", voice: "alloy", input: "Hello there.", response_format: "wav" });
  assert.equal(Buffer.from(await response.arrayBuffer()).subarray(0, 4).toString(), "RIFF");
});

test("a recording is transcribed", async () => {
  for (const response_format of ["json", "text", "srt", "vtt", "verbose_json"]) {
    const heard = await client.audio.transcriptions.create({
      model: "whisper-1",
      file: await toFile(await recording(), "a.wav"),
      response_format,
    });
    assert.equal(typeof (typeof heard === "string" ? heard : heard.text), "string");
  }
});

test("errors become the SDK's own", async () => {
  await assert.rejects(client.chat.completions.create({ model: "nobody/nothing", messages }), OpenAI.NotFoundError);
  await assert.rejects(client.chat.completions.create({ model, messages, n: 2 }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "n");
    return true;
  });
});
