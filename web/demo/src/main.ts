// The page: a press begins a call, what comes of it is shown, and every way out of trouble is a press, too.

import { Choices } from "./choices";
import { Conversation, INTERRUPTED_MS, type Phase } from "./conversation";
import type { Ears, Line } from "./line";
import { type ServerEvent, session } from "./protocol";
import * as rtc from "./rtc";
import * as socket from "./socket";
import { insecure, ofAny, ofMicrophone, Trouble } from "./trouble";
import { find, make, write } from "./view/element";
import { Insight } from "./view/insight";
import { Rings } from "./view/rings";
import { Transcript } from "./view/transcript";

const STATES: Record<Phase, string> = {
    idle: "Press, and talk.",
    connecting: "Connecting…",
    listening: "Go ahead.",
    hearing: "You are speaking.",
    thinking: "Thinking…",
    speaking: "Speaking. Just interrupt.",
    interrupted: "Interrupted: go on.",
    error: "Something is in the way.",
};
const WORDS: Record<Phase, string> = {
    idle: "Talk",
    connecting: "…",
    listening: "Listening",
    hearing: "Hearing you",
    thinking: "Thinking",
    speaking: "Stop",
    interrupted: "Go on",
    error: "Try again",
};
const IDEAS = ["What can you help me with?", "Tell me a story about the sea.", "Why is the sky blue?"];

const rings = new Rings(find<HTMLCanvasElement>("rings"));
const transcript = new Transcript();
const insight = new Insight();
const choices = new Choices(() => line?.send({ type: "session.update", session: session(choices.wishes) }));
const orb = find<HTMLButtonElement>("orb");
const muteButton = find<HTMLButtonElement>("mute");
const words = find<HTMLInputElement>("words");

let conversation = new Conversation();
let line: Line | undefined;
let microphone: MediaStream | undefined;
let began = 0;
/** Counts dialings, so that one that was given up comes to nothing. */
let dialing = 0;
let muted = false;

// ---- A call ----

async function openMicrophone(): Promise<MediaStream> {
    if (!navigator.mediaDevices?.getUserMedia) throw insecure();
    const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
    return navigator.mediaDevices.getUserMedia({ audio }).catch((error: unknown) => {
        throw ofMicrophone(error);
    });
}

/** Begins a call; one that is typed needs no microphone. */
async function call(typed: boolean): Promise<boolean> {
    const mine = ++dialing;
    hush();
    conversation = new Conversation();
    transcript.clear();
    setPhase("connecting");
    rings.run();
    try {
        const stream = typed ? undefined : await openMicrophone();
        if (mine !== dialing) {
            stop(stream);
            return false;
        }
        microphone = stream;
        const ready = await dial(stream);
        if (mine !== dialing) {
            ready.close();
            stop(stream);
            return false;
        }
        line = ready;
        for (const track of stream?.getAudioTracks() ?? []) track.onended = () => hangUp(new Trouble("The microphone went away", "Plug it in again, then press.", "again"));
        began = Date.now();
        setMuted(false);
        setPhase("listening");
        tick();
        return true;
    } catch (error) {
        if (mine === dialing) hangUp(ofAny(error));
        return false;
    }
}

async function dial(stream: MediaStream | undefined): Promise<Line> {
    const { wishes, key, transport } = choices;
    const overSocket = () => socket.dial(stream, wishes, key, ears());
    if (!stream || transport === "websocket") return overSocket();
    try {
        return await rtc.dial(stream, wishes, key, find<HTMLAudioElement>("speaker"), ears());
    } catch (error) {
        const trouble = ofAny(error);
        if (transport === "webrtc" || !trouble.otherwise) throw trouble;
        return overSocket();
    }
}

/** What one dialing hears; of one that was given up, nothing is taken. */
function ears(): Ears {
    const mine = dialing;
    const current = () => mine === dialing;
    return {
        event: (event) => current() && take(event),
        spoken: ({ at, db }) => {
            if (!current()) return;
            conversation.spoken(at, db);
            rings.spoken(muted ? -100 : db);
        },
        heard: ({ at, db }) => {
            if (!current()) return;
            rings.heard(db);
            if (conversation.heard(at, db)) show();
        },
        lost: (why) => current() && hangUp(new Trouble("The call ended", why, "again")),
    };
}

function take(event: ServerEvent): void {
    conversation.take(event, performance.now());
    if (conversation.phase === "interrupted") setTimeout(() => settle(), INTERRUPTED_MS);
    // The server knows how much of a cut answer was heard; it is asked for the words.
    if (event.type === "response.done" && event.response?.status === "cancelled") {
        for (const entry of conversation.entries) {
            if (entry.cut && entry.turn?.response === event.response.id) line?.send({ type: "conversation.item.retrieve", item_id: entry.id });
        }
    }
    if (event.type === "response.done" && waiting) {
        const text = waiting;
        waiting = "";
        say(text);
    }
    if (conversation.complaint) {
        notify(new Trouble("The server says", conversation.complaint, "none"));
        conversation.complaint = "";
    }
    show();
}

function settle(): void {
    conversation.settle(performance.now());
    show();
}

function hangUp(trouble?: Trouble): void {
    dialing++;
    line?.close();
    line = undefined;
    stop(microphone);
    microphone = undefined;
    waiting = "";
    rings.rest();
    setPhase(trouble ? "error" : "idle");
    if (trouble) notify(trouble);
}

function stop(stream: MediaStream | undefined): void {
    for (const track of stream?.getTracks() ?? []) {
        track.onended = null;
        track.stop();
    }
}

// ---- What a person does ----

/** Words that wait for the answer in progress to end. */
let waiting = "";

function say(text: string): void {
    if (!line) return;
    if (conversation.active) {
        waiting = text;
        interrupt();
        return;
    }
    // What is written already may still be sounding.
    if (conversation.sounding) line.silence();
    const id = `item_page_${Date.now().toString(36)}`;
    conversation.typed(id, text, performance.now());
    line.send({ type: "conversation.item.create", item: { id, type: "message", role: "user", content: [{ type: "input_text", text }] } });
    line.send({ type: "response.create" });
    show();
}

function interrupt(): void {
    if (conversation.active) line?.send({ type: "response.cancel" });
    line?.silence();
}

async function type(text: string): Promise<void> {
    if (line || (await call(true))) say(text);
}

function setMuted(to: boolean): void {
    muted = to;
    for (const track of microphone?.getAudioTracks() ?? []) track.enabled = !muted;
    muteButton.setAttribute("aria-pressed", String(muted));
    write(muteButton, muted ? "Unmute" : "Mute");
    show();
}

orb.onclick = () => {
    if (conversation.phase === "idle" || conversation.phase === "error") void call(false);
    else if (conversation.phase === "speaking") interrupt();
};
muteButton.onclick = () => setMuted(!muted);
find("hang-up").onclick = () => {
    hangUp();
    orb.focus();
};
find<HTMLFormElement>("say").onsubmit = (event) => {
    event.preventDefault();
    const text = words.value.trim();
    if (!text) return;
    words.value = "";
    void type(text);
};
document.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || find<HTMLDialogElement>("key-dialog").open) return;
    const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
    if (event.key === "Escape" && (line || conversation.phase === "connecting")) hangUp();
    else if (typing) return;
    else if (event.key === "m" && microphone) setMuted(!muted);
    else if (event.key === "/") {
        event.preventDefault();
        words.focus();
    }
};
window.addEventListener("pagehide", () => hangUp());

// ---- The key ----

const keyDialog = find<HTMLDialogElement>("key-dialog");
const keyField = find<HTMLInputElement>("key");
/** Whether a call waits for the key. */
let callAfterKey = false;

function askForKey(): void {
    keyField.value = choices.key;
    keyDialog.showModal();
}

find("key-open").onclick = askForKey;
find("key-close").onclick = () => keyDialog.close();
keyDialog.onclose = () => {
    callAfterKey = false;
};
find<HTMLFormElement>("key-form").onsubmit = () => {
    choices.key = keyField.value.trim();
    const again = callAfterKey;
    hush();
    if (conversation.phase === "error") setPhase("idle");
    void load().then((known) => known && again && call(false));
};

// ---- What is shown ----

function setPhase(phase: Phase): void {
    conversation.phase = phase;
    show();
}

/** Drawn once a frame, however many events came; a page in the background draws when it is back. */
let drawing = 0;
function show(): void {
    drawing ||= requestAnimationFrame(() => {
        drawing = 0;
        draw();
    });
}

function draw(): void {
    const { phase, entries, turns } = conversation;
    const calling = phase !== "idle" && phase !== "error";
    document.body.dataset.phase = phase;
    document.body.classList.toggle("calling", calling);
    document.body.classList.toggle("muted", calling && muted);
    rings.phase = phase;
    const silent = line && !microphone;
    const state = silent && phase === "listening" ? "Type, and it answers aloud." : muted && phase === "listening" ? "Muted: it does not hear you." : STATES[phase];
    write(find("state"), state);
    write(find("orb-word"), silent && phase === "listening" ? "Waiting" : muted && phase === "listening" ? "Muted" : WORDS[phase]);
    const can = !calling || phase === "speaking";
    orb.setAttribute("aria-disabled", String(!can));
    orb.setAttribute("aria-label", !calling ? "Start talking" : phase === "speaking" ? "Stop the answer" : state);
    find("controls").hidden = !calling;
    drawLine();
    muteButton.hidden = !microphone;
    transcript.show(entries);
    insight.show(turns);
}

function tick(): void {
    drawLine();
    if (line) setTimeout(tick, 500);
}

function drawLine(): void {
    if (!line) return write(find("line"), "");
    const passed = Math.floor((Date.now() - began) / 1000);
    const clock = `${Math.floor(passed / 60)}:${String(passed % 60).padStart(2, "0")}`;
    const who = [line.name, conversation.model, clock].filter(Boolean).join(" · ");
    write(find("line"), who);
}

function notify(trouble: Trouble): void {
    const notice = find("notice");
    const buttons: HTMLElement[] = [];
    const button = (text: string, press: () => void) => {
        const made = make("button", { type: "button" }, text);
        made.onclick = press;
        buttons.push(made);
    };
    if (trouble.remedy === "again") button("Try again", () => void call(false));
    if (trouble.remedy === "key") {
        button("Enter the key", () => {
            askForKey();
            callAfterKey = conversation.phase === "error";
        });
    }
    if (trouble.remedy === "again" || trouble.remedy === "type") button("Type instead", () => words.focus());
    button("Dismiss", hush);
    notice.replaceChildren(make("b", {}, trouble.title), make("p", {}, trouble.message), make("div", { class: "row" }, ...buttons));
    notice.hidden = false;
}

function hush(): void {
    find("notice").hidden = true;
}

async function load(): Promise<boolean> {
    try {
        await choices.load();
        return true;
    } catch (error) {
        notify(ofAny(error));
        return false;
    }
}

for (const idea of IDEAS) {
    const button = make("button", { type: "button" }, idea);
    button.onclick = () => void type(idea);
    find("ideas").append(make("li", {}, button));
}
void load();
draw();
