// A call over WebRTC: sound over RTP, events over the data channel.

import { API, authorization, clock, type Ears, type Line } from "./line";
import { session, type Wishes } from "./protocol";
import { ofAnswer, Trouble } from "./trouble";

/** A connection that is not there by then will not be: where UDP is blocked, nothing says so. */
const PATIENCE_MS = 7_000;
/** A connection from which nothing came for this long looks for another way. */
const DOUBT_MS = 1_500;

export async function dial(microphone: MediaStream, wishes: Wishes, key: string, speaker: HTMLAudioElement, ears: Ears): Promise<Line> {
    if (!("RTCPeerConnection" in window)) throw new Trouble("No WebRTC here", "This browser has none; choose WebSocket.", "again", true);
    const connection = new RTCPeerConnection();
    const sound = new AudioContext({ latencyHint: "interactive" });
    const close = () => {
        connection.close();
        speaker.srcObject = null;
        void sound.close();
    };
    try {
        await sound.audioWorklet.addModule("./worklet.js");
        const meter = (stream: MediaStream, tell: (level: { at: number; db: number }) => void) => {
            const node = new AudioWorkletNode(sound, "meter", { numberOfOutputs: 0 });
            const at = clock();
            node.port.onmessage = ({ data }) => tell({ at: at(data.seconds), db: data.db });
            sound.createMediaStreamSource(stream).connect(node);
        };
        for (const track of microphone.getAudioTracks()) connection.addTrack(track, microphone);
        meter(microphone, ears.spoken);
        connection.ontrack = ({ track, streams }) => {
            const stream = streams[0] ?? new MediaStream([track]);
            speaker.srcObject = stream;
            // A press began the call, so the browser lets it play; where it does not, the transcript still grows.
            speaker.play().catch(() => {});
            meter(stream, ears.heard);
        };
        const channel = connection.createDataChannel("oai-events");
        channel.onmessage = ({ data }) => ears.event(JSON.parse(data));
        await connection.setLocalDescription();
        const form = new FormData();
        form.set("sdp", connection.localDescription?.sdp ?? "");
        form.set("session", JSON.stringify(session(wishes)));
        const answer = await fetch(new URL("realtime/calls", API), { method: "POST", headers: authorization(key), body: form });
        if (!answer.ok) throw await ofAnswer(answer);
        await connection.setRemoteDescription({ type: "answer", sdp: await answer.text() });
        await opened(channel, connection);
        const place = answer.headers.get("location");
        if (place) renew(connection, new URL(place, API), key);
        connection.onconnectionstatechange = () => {
            if (connection.connectionState === "failed") ears.lost("The connection broke off.");
        };
        channel.onclose = () => ears.lost("The server ended the call.");
        const send = (event: object) => {
            if (channel.readyState === "open") channel.send(JSON.stringify(event));
        };
        return {
            name: "WebRTC",
            send,
            silence: () => send({ type: "output_audio_buffer.clear" }),
            close: () => {
                channel.onclose = connection.onconnectionstatechange = connection.oniceconnectionstatechange = null;
                close();
            },
        };
    } catch (error) {
        close();
        throw error;
    }
}

/** Looks for another way to the server where the one in use falls silent, as when a phone leaves its Wi-Fi. */
function renew(connection: RTCPeerConnection, call: URL, key: string): void {
    let timer = 0;
    connection.oniceconnectionstatechange = () => {
        clearTimeout(timer);
        // Most silences end by themselves, and sooner.
        if (connection.iceConnectionState === "disconnected") timer = setTimeout(() => connection.restartIce(), DOUBT_MS);
    };
    connection.onnegotiationneeded = async () => {
        await connection.setLocalDescription();
        const headers = { ...authorization(key), "Content-Type": "application/sdp" };
        const answer = await fetch(call, { method: "PATCH", headers, body: connection.localDescription?.sdp ?? "" }).catch(() => undefined);
        // A server that cannot be reached, or that renews nothing, leaves the call to what it still has.
        if (answer?.ok && connection.signalingState === "have-local-offer") {
            await connection.setRemoteDescription({ type: "answer", sdp: await answer.text() });
        }
    };
}

function opened(channel: RTCDataChannel, connection: RTCPeerConnection): Promise<void> {
    const text = "Something between here and the server lets no UDP through.";
    return new Promise((resolve, reject) => {
        const fail = () => reject(new Trouble("WebRTC does not get through", text, "again", true));
        const timer = setTimeout(fail, PATIENCE_MS);
        channel.onopen = () => {
            clearTimeout(timer);
            resolve();
        };
        connection.onconnectionstatechange = () => {
            if (connection.connectionState === "failed") {
                clearTimeout(timer);
                fail();
            }
        };
    });
}
