// A call over WebRTC: sound over RTP, events over the data channel. The call outlives the connection that carries it: where the way to the
// server breaks, another way is looked for (ICE restart), then another connection.

import { API, authorization, clock, type Ears, type Level, type Line } from "./line";
import { session, type Wishes } from "./protocol";
import { ofAnswer, Trouble } from "./trouble";

/** A connection that is not there by then will not be: where UDP is blocked, nothing says so. */
const PATIENCE_MS = 7_000;
/** A connection from which nothing came for this long looks for another way. */
const DOUBT_MS = 1_500;
/** Another way that is not found by then is given up for another connection; the server keeps the call for 30 s. */
const MENDING_MS = 5_000;
/** A server that does not say by then which relays there are is asked without. */
const RELAYS_MS = 2_000;

/** One connection of a call. */
interface Link {
    connection: RTCPeerConnection;
    channel: RTCDataChannel;
}

export async function dial(microphone: MediaStream, wishes: Wishes, key: string, speaker: HTMLAudioElement, ears: Ears): Promise<Line> {
    if (!("RTCPeerConnection" in window)) throw new Trouble("No WebRTC here", "This browser has none; choose WebSocket.", "again", true);
    const sound = new AudioContext({ latencyHint: "interactive" });
    let link: Link | undefined;
    const close = () => {
        link?.connection.close();
        speaker.srcObject = null;
        void sound.close();
    };
    try {
        const [iceServers] = await Promise.all([relays(key), sound.audioWorklet.addModule("./worklet.js")]);
        meter(sound, ears.spoken)(microphone);
        const listen = meter(sound, ears.heard);
        const open = (): Link => {
            const connection = new RTCPeerConnection({ iceServers });
            for (const track of microphone.getAudioTracks()) connection.addTrack(track, microphone);
            connection.ontrack = ({ track, streams, receiver }) => {
                // An answer begins at once: the browser holds back as little as its network allows, and what it may not need by default.
                if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
                const stream = streams[0] ?? new MediaStream([track]);
                speaker.srcObject = stream;
                // A press began the call, so the browser lets it play; where it does not, the transcript still grows.
                speaker.play().catch(() => {});
                listen(stream);
            };
            const channel = connection.createDataChannel("oai-events");
            channel.onmessage = ({ data }) => ears.event(JSON.parse(data));
            return { connection, channel };
        };
        link = open();
        const answer = await join(link, (sdp) => {
            const form = new FormData();
            form.set("sdp", sdp);
            form.set("session", JSON.stringify(session(wishes)));
            return fetch(new URL("realtime/calls", API), { method: "POST", headers: authorization(key), body: form });
        });
        const place = answer.headers.get("location");
        const unwatch = watch(link, open, place ? new URL(place, API) : undefined, key, ears, (other) => (link = other));
        const send = (event: object) => {
            if (link?.channel.readyState === "open") link.channel.send(JSON.stringify(event));
        };
        return {
            name: "WebRTC",
            send,
            silence: () => send({ type: "output_audio_buffer.clear" }),
            close: () => {
                unwatch();
                close();
            },
        };
    } catch (error) {
        close();
        throw error;
    }
}

/** The servers that help connections through firewalls. A server that tells of none is reached directly, or not at all. */
async function relays(key: string): Promise<RTCIceServer[]> {
    const options = { headers: authorization(key), signal: AbortSignal.timeout(RELAYS_MS) };
    const answer = await fetch(new URL("realtime/ice-servers", API), options).catch(() => undefined);
    // What is wrong with a key, the call itself is told.
    if (!answer?.ok) return [];
    const { ice_servers } = await answer.json();
    return ice_servers ?? [];
}

/** Tells how loud a stream is; another one takes its place. */
function meter(sound: AudioContext, tell: (level: Level) => void): (stream: MediaStream) => void {
    const node = new AudioWorkletNode(sound, "meter", { numberOfOutputs: 0 });
    const at = clock();
    node.port.onmessage = ({ data }) => tell({ at: at(data.seconds), db: data.db });
    let source: MediaStreamAudioSourceNode | undefined;
    return (stream) => {
        source?.disconnect();
        source = sound.createMediaStreamSource(stream);
        source.connect(node);
    };
}

/** Offers a connection by `ask`, and waits until events get through. */
async function join({ connection, channel }: Link, ask: (offer: string) => Promise<Response>): Promise<Response> {
    await connection.setLocalDescription();
    const answer = await ask(connection.localDescription?.sdp ?? "");
    if (!answer.ok) throw await ofAnswer(answer);
    await connection.setRemoteDescription({ type: "answer", sdp: await answer.text() });
    await opened(channel, connection);
    return answer;
}

/**
 * Keeps a call alive: another way where the one in use falls silent or the network changes, as when a phone leaves its Wi-Fi; another
 * connection where that is of no use. Gives what ends the watch.
 */
function watch(first: Link, open: () => Link, call: URL | undefined, key: string, ears: Ears, use: (link: Link) => void): () => void {
    let link = first;
    let doubt = 0;
    let doom = 0;
    let over = false;
    const renew = (sdp: string): Promise<Response> => {
        if (!call) return Promise.reject(new Error("the server named no call"));
        return fetch(call, { method: "PATCH", headers: { ...authorization(key), "Content-Type": "application/sdp" }, body: sdp });
    };
    const rest = () => {
        clearTimeout(doubt);
        clearTimeout(doom);
    };
    const detach = ({ connection, channel }: Link) => {
        channel.onclose = channel.onmessage = null;
        connection.ontrack = connection.onnegotiationneeded = null;
        connection.onconnectionstatechange = connection.oniceconnectionstatechange = null;
    };
    const mend = () => {
        rest();
        link.connection.restartIce();
        doom = setTimeout(replace, MENDING_MS);
    };
    const replace = async () => {
        rest();
        const old = link;
        detach(old);
        const other = open();
        link = other;
        try {
            await join(other, renew);
        } catch {
            other.connection.close();
            if (!over) ears.lost("The connection broke off.");
            return;
        } finally {
            old.connection.close();
        }
        if (over) return other.connection.close();
        use(other);
        attach();
    };
    const attach = () => {
        const { connection, channel } = link;
        channel.onclose = () => ears.lost("The server ended the call.");
        connection.onconnectionstatechange = () => {
            if (connection.connectionState === "failed") void replace();
        };
        connection.oniceconnectionstatechange = () => {
            rest();
            // Most silences end by themselves, and sooner.
            if (connection.iceConnectionState === "disconnected") doubt = setTimeout(mend, DOUBT_MS);
        };
        connection.onnegotiationneeded = async () => {
            await connection.setLocalDescription();
            const answer = await renew(connection.localDescription?.sdp ?? "").catch(() => undefined);
            // A server that cannot be reached, or that renews nothing, leaves the call to what it still has.
            if (answer?.ok && connection.signalingState === "have-local-offer") {
                await connection.setRemoteDescription({ type: "answer", sdp: await answer.text() });
                if (connection.iceConnectionState !== "disconnected") rest();
            }
        };
    };
    attach();
    const changed = () => link.connection.connectionState !== "new" && mend();
    const network = (navigator as Navigator & { connection?: EventTarget }).connection;
    network?.addEventListener("change", changed);
    window.addEventListener("online", changed);
    return () => {
        over = true;
        rest();
        detach(link);
        network?.removeEventListener("change", changed);
        window.removeEventListener("online", changed);
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
