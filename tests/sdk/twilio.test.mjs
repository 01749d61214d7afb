// OpenAI's own Twilio transport, unmodified, between a Twilio-shaped socket and a server: a call of two spoken turns, the second spoken into
// the answer to the first, and of keys pressed into the answer to the second. TIMBRE_REALTIME_URL is the server's WebSocket endpoint,
// TIMBRE_MULAW a recorded question: mu-law at 8 kHz, no header. The server's language model thanks for keys, and talks at length otherwise.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { RealtimeAgent, RealtimeSession } from "@openai/agents/realtime";
import { TwilioRealtimeTransportLayer } from "@openai/agents-extensions";

const url = process.env.TIMBRE_REALTIME_URL;
const FRAME = 160;

/** The socket that Twilio opens: it plays what it is sent as time goes by, and its caller speaks. */
class Twilio extends EventTarget {
  queue = [];
  speech = Buffer.alloc(0);
  heard = 0;
  clears = 0;
  chunk = 0;

  constructor() {
    super();
    this.says({ event: "connected", protocol: "Call", version: "1.0.0" });
  }

  start() {
    const mediaFormat = { encoding: "audio/x-mulaw", sampleRate: 8000, channels: 1 };
    const start = { streamSid: "MZ1", accountSid: "AC1", callSid: "CA1", tracks: ["inbound"], customParameters: {}, mediaFormat };
    this.says({ event: "start", sequenceNumber: "1", streamSid: "MZ1", start });
    this.began = performance.now();
    this.timer = setInterval(() => this.run(), 5);
  }

  says(message) {
    const event = new Event("message");
    event.data = JSON.stringify(message);
    this.dispatchEvent(event);
  }

  /** What the transport sends. */
  send(text) {
    const message = JSON.parse(text);
    if (message.event === "media") this.queue.push(Buffer.from(message.media.payload, "base64"));
    else if (message.event === "mark") this.queue.push(message.mark.name);
    else if (message.event === "clear") {
      this.clears += 1;
      for (const name of this.queue.splice(0).filter((item) => typeof item === "string")) this.mark(name);
    }
  }

  close() {
    clearInterval(this.timer);
  }

  press(digit) {
    this.says({ event: "dtmf", sequenceNumber: "9", streamSid: "MZ1", dtmf: { track: "inbound_track", digit } });
  }

  mark(name) {
    this.says({ event: "mark", streamSid: "MZ1", mark: { name } });
  }

  /** As many frames as are due: each 20 ms said, and 20 ms heard. */
  run() {
    while (this.chunk * 20 < performance.now() - this.began) {
      const said = Buffer.alloc(FRAME, 0xff);
      this.speech.subarray(0, FRAME).copy(said);
      this.speech = this.speech.subarray(FRAME);
      this.chunk += 1;
      const media = { track: "inbound", chunk: `${this.chunk}`, timestamp: `${this.chunk * 20}`, payload: said.toString("base64") };
      this.says({ event: "media", sequenceNumber: `${this.chunk + 1}`, streamSid: "MZ1", media });
      let room = FRAME;
      while (this.queue.length && (room || typeof this.queue[0] === "string")) {
        const next = this.queue.shift();
        if (typeof next === "string") this.mark(next);
        else {
          const played = next.subarray(0, room);
          this.heard += played.length;
          room -= played.length;
          if (played.length < next.length) this.queue.unshift(next.subarray(played.length));
        }
      }
    }
  }
}

async function until(what, enough, seconds = 60) {
  const by = performance.now() + seconds * 1000;
  while (!enough()) {
    assert.ok(performance.now() < by, `never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test("a call over Twilio, with an interruption and keys", { skip: !url && "no server (TIMBRE_REALTIME_URL)" }, async () => {
  const question = await readFile(process.env.TIMBRE_MULAW);
  const twilio = new Twilio();
  const transport = new TwilioRealtimeTransportLayer({ twilioWebSocket: twilio });
  // Without this, a session asks for PCM at 24 kHz, whatever its transport carries.
  const format = { type: "audio/pcmu" };
  const config = { audio: { input: { format }, output: { format } } };
  const session = new RealtimeSession(new RealtimeAgent({ name: "Desk", instructions: "Be brief." }), { transport, config });
  const [events, errors] = [[], []];
  session.on("transport_event", (event) => events.push(event));
  session.on("error", (error) => errors.push(error));
  // The transport tells keys its application, and the server nothing: what they mean is the application's to say.
  let keys = "";
  session.on("transport_event", ({ type, message }) => {
    if (type !== "twilio_message" || message.event !== "dtmf") return;
    keys += message.dtmf.digit;
    if (message.dtmf.digit !== "#") return;
    session.interrupt();
    session.sendMessage(`I pressed the keys ${keys}`);
  });
  await session.connect({ apiKey: process.env.TIMBRE_API_KEY ?? "none", url });
  const all = (type) => events.filter((event) => event.type === type);
  try {
    const isMulaw = ({ session: { audio } }) => audio.input.format.type === "audio/pcmu" && audio.output.format.type === "audio/pcmu";
    await until("the session has the telephone's sound", () => all("session.updated").some(isMulaw));
    twilio.start();
    twilio.speech = question;
    await until("the first answer is heard", () => twilio.heard > 2 * 8000);
    twilio.speech = question;
    await until("the answer is cleared", () => twilio.clears > 0);
    await until("what was heard is told", () => all("conversation.item.truncated").length > 0);
    const cut = all("conversation.item.truncated")[0];
    // The transport adds 50 ms to what it knows to be played.
    assert.ok(cut.audio_end_ms > 500 && cut.audio_end_ms <= twilio.heard / 8 + 70, `${cut.audio_end_ms} of ${twilio.heard / 8} ms`);
    let before = twilio.heard;
    await until("the second answer is heard", () => twilio.heard > before + 8000);
    const { clears } = twilio;
    for (const digit of "42#") twilio.press(digit);
    await until("keys clear the answer", () => twilio.clears > clears);
    await until("what was heard of it is told as well", () => all("conversation.item.truncated").length > 1);
    before = twilio.heard;
    await until("the thanks are heard", () => twilio.heard > before + 2400);
    await until("they are thanks", () => all("response.output_audio_transcript.done").some((event) => event.transcript.includes("Thank you for 42#")));
    const asked = all("conversation.item.input_audio_transcription.completed").map((event) => event.transcript.toLowerCase());
    assert.equal(asked.filter((text) => text.includes("weather")).length, 2, asked.join("; "));
    assert.deepEqual(errors.map((error) => JSON.stringify(error)), []);
  } finally {
    twilio.close();
    session.close();
  }
});
