// A call over WebSocket: sound both ways as PCM16 at 24 kHz inside the events, played here, and cut here where the caller interrupts.

import { API, authorization, clock, type Ears, type Line } from "./line";
import { type ServerEvent, session, type Wishes } from "./protocol";
import { ofAnswer, Trouble, unreachable } from "./trouble";

const RATE = 24_000;

/** Without a microphone the call is typed, and still answered aloud. */
export async function dial(microphone: MediaStream | undefined, wishes: Wishes, key: string, ears: Ears): Promise<Line> {
    // A browser does not say why it got no socket; an ordinary request does.
    const asked = await fetch(new URL("models", API), { headers: authorization(key) });
    if (!asked.ok) throw await ofAnswer(asked);
    const socket = await connect(wishes, key);
    // The microphone's rate is its own, the playout's that of the protocol: no browser needs to join the two.
    const contexts = [new AudioContext({ sampleRate: RATE, latencyHint: "interactive" })];
    const close = () => {
        socket.onclose = socket.onmessage = null;
        socket.close();
        for (const context of contexts) void context.close();
    };
    try {
        const speaker = await playout(contexts[0]!, ears, (response, ms) => {
            const item = items.get(response);
            if (item) send({ type: "conversation.item.truncate", item_id: item, content_index: 0, audio_end_ms: Math.round(ms) });
        });
        const items = new Map<string, string>();
        const send = (event: object) => {
            if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(event));
        };
        socket.onmessage = ({ data }) => {
            const event: ServerEvent = JSON.parse(data);
            const response = event.response_id ?? "";
            if (event.type === "response.output_audio.delta") {
                if (event.item_id) items.set(response, event.item_id);
                speaker.postMessage({ push: samples(event.delta ?? ""), response });
                ears.event({ type: event.type, response_id: response });
                return;
            }
            // The server tells only those who interrupt: what is a cough, it lets pass by holding back its sound.
            if (event.type === "input_audio_buffer.speech_started") speaker.postMessage({ flush: true });
            if (event.type === "response.output_audio.done") speaker.postMessage({ whole: true, response });
            ears.event(event);
        };
        socket.onclose = ({ code, reason }) => ears.lost(reason || (code === 1006 ? "The connection broke off." : "The server ended the call."));
        if (microphone) {
            const context = new AudioContext({ latencyHint: "interactive" });
            contexts.push(context);
            await capture(context, microphone, ears, (pcm) => {
                // A socket this far behind would only make the server hear the past.
                if (socket.bufferedAmount < RATE * 4) send({ type: "input_audio_buffer.append", audio: base64(pcm) });
            });
        }
        send({ type: "session.update", session: session(wishes) });
        return { name: "WebSocket", send, silence: () => speaker.postMessage({ flush: true }), close };
    } catch (error) {
        close();
        throw error;
    }
}

async function connect(wishes: Wishes, key: string): Promise<WebSocket> {
    const url = new URL("realtime", API);
    url.protocol = url.protocol.replace("http", "ws");
    if (wishes.model) url.searchParams.set("model", wishes.model);
    const socket = new WebSocket(url, key ? ["realtime", `openai-insecure-api-key.${key}`] : ["realtime"]);
    const isOpen = await new Promise<boolean>((resolve) => {
        socket.onopen = () => resolve(true);
        socket.onerror = () => resolve(false);
    });
    if (isOpen) return socket;
    // The same place, asked for in a way whose refusal can be read: no place, or a wrong offer.
    const why = await fetch(new URL("realtime/calls", API), {
        method: "POST",
        headers: { ...authorization(key), "Content-Type": "application/sdp" },
        body: "",
    }).catch(() => undefined);
    if (!why) throw unreachable();
    if (why.status === 429) throw await ofAnswer(why);
    if (why.status === 501) {
        // No WebRTC, or no calls at all: asked for without a socket, the endpoint says which.
        const absent = await fetch(new URL("realtime", API), { headers: authorization(key) });
        if (absent.status === 501) throw await ofAnswer(absent);
    }
    throw new Trouble("The call was refused", "The server took no WebSocket; its log says why.", "again");
}

async function capture(context: AudioContext, microphone: MediaStream, ears: Ears, take: (pcm: Int16Array) => void): Promise<void> {
    await context.audioWorklet.addModule("./worklet.js");
    const source = context.createMediaStreamSource(microphone);
    const meter = new AudioWorkletNode(context, "meter", { numberOfOutputs: 0 });
    const at = clock();
    meter.port.onmessage = ({ data }) => ears.spoken({ at: at(data.seconds), db: data.db });
    const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    node.port.onmessage = ({ data }) => take(data);
    source.connect(meter);
    source.connect(node);
}

async function playout(context: AudioContext, ears: Ears, cut: (response: string, ms: number) => void): Promise<MessagePort> {
    await context.audioWorklet.addModule("./worklet.js");
    const node = new AudioWorkletNode(context, "playout", { numberOfInputs: 0, outputChannelCount: [1] });
    const at = clock();
    node.port.onmessage = ({ data }) => {
        if ("db" in data) ears.heard({ at: at(data.seconds), db: data.db });
        else if (data.started) ears.event({ type: "output_audio_buffer.started", response_id: data.started });
        else if (data.stopped) ears.event({ type: "output_audio_buffer.stopped", response_id: data.stopped });
        else if (data.cleared) {
            // What is on its way to the loudspeaker was not heard yet.
            const late = ((context.outputLatency || 0) + (context.baseLatency || 0)) * 1000;
            cut(data.cleared, Math.max(0, data.ms - late));
            ears.event({ type: "output_audio_buffer.cleared", response_id: data.cleared });
        }
    };
    node.connect(context.destination);
    return node.port;
}

function samples(text: string): Float32Array {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Float32Array.from({ length: bytes.length >> 1 }, (_, at) => view.getInt16(at * 2, true) / 32768);
}

function base64(pcm: Int16Array): string {
    return btoa(String.fromCharCode(...new Uint8Array(pcm.buffer)));
}
