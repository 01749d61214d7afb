// End of speech to the first audible sample at the listener, in Chromium over WebRTC, with a language model that answers at once:
//
//   TIMBRE_DATA=FOLDER node tests/bench/browser.mjs [CLIPS]
//
// Needs Chromium, the packages of tests/browser, and a built server (TIMBRE names the program; else `make build`'s). It plays read clips one
// after the other into one call, in real time. Microphone and loudspeaker are measured by one clock, that of the browser's audio: speech
// ends where its energy does (as in src/bench/energy.rs), and is answered with the first 10 ms above -40 dB of full scale.

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { availableParallelism, homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { place, withBrowser } from '../browser/chromium.mjs';
import { silence, write } from '../browser/sound.mjs';
import { upstream } from '../browser/upstream.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const clips = Number(process.argv[2] ?? 20);
const data = process.env.TIMBRE_DATA ?? join(root, '../shared/data');
const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'timbre');
const program = process.env.TIMBRE ?? join(process.env.CARGO_TARGET_DIR ?? join(cache, 'target'), 'release/timbre');
/** Between two clips, s: the longest wait for the end of a turn, and the answer. */
const PAUSE = 7;
/** What the microphone gives between clips is nothing at all; a clip's own pauses have their room. dB. */
const NOTHING_DB = -95;
/** The first sample of an answer that is heard. */
const AUDIBLE_DB = -40;
/** A turn answered within this, s, was judged complete at once; what takes longer was judged unfinished and waited out. */
const COMPLETE = 1.0;

if (!place()) throw new Error('there is no Chromium; TIMBRE_CHROMIUM may name one');

/** The first clips of read speech. */
function files() {
  const list = readFileSync(join(data, 'MANIFEST.tsv'), 'utf8').split('\n');
  return list.filter((line) => line.startsWith('stt/en/librispeech_other')).slice(0, clips).map((line) => join(data, line.split('\t')[0]));
}

async function freePort() {
  const server = createServer();
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

/** Runs a server whose model answers at once, and gives `use` its address. */
async function withServer(use) {
  const folder = mkdtempSync(join(tmpdir(), 'timbre-bench-'));
  const model = await upstream();
  const file = join(folder, 'timbre.toml');
  writeFileSync(file, `[[provider]]\nname = "bench"\nbase_url = "${model.url}"\nmodels = ["short"]\n`);
  const address = `127.0.0.1:${await freePort()}`;
  const env = { ...process.env, TIMBRE_SERVER__LISTEN: address, XDG_STATE_HOME: folder };
  const server = spawn(program, ['serve', '--config', file], { env, stdio: 'ignore' });
  try {
    for (let tries = 0; ; tries++) {
      if (await fetch(`http://${address}/readyz`).then((answer) => answer.ok, () => false)) break;
      if (tries > 600 || server.exitCode !== null) throw new Error(`${program} serve did not become ready`);
      await new Promise((done) => setTimeout(done, 200));
    }
    return await use(`http://${address}/`);
  } finally {
    server.kill();
    model.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The clips at the microphone's rate: Chromium reads what they are written in. */
function decode(files) {
  return withBrowser(write(silence(0.1)), async (browser) => {
    const page = await browser.newPage();
    const decoded = [];
    for (const file of files) {
      const pcm = await page.evaluate(async (text) => {
        const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
        const sound = await new OfflineAudioContext(1, 1, 48_000).decodeAudioData(bytes.buffer);
        return Array.from(sound.getChannelData(0), (sample) => Math.round(sample * 32_767));
      }, readFileSync(file).toString('base64'));
      decoded.push(Float32Array.from(pcm, (sample) => sample / 32_767));
    }
    return decoded;
  });
}

/** In the page: calls, and gives what sounded on either side, 10 ms at a time, until it has been `seconds`. */
async function call({ seconds, model }) {
  const connection = new RTCPeerConnection();
  const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const context = new AudioContext();
  await context.audioWorklet.addModule('./worklet.js');
  const meter = (stream) => {
    const levels = [];
    const node = new AudioWorkletNode(context, 'meter', { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => levels.push([data.seconds, data.db]);
    context.createMediaStreamSource(stream).connect(node);
    return levels;
  };
  const speaker = new Audio();
  let heard = [];
  connection.ontrack = ({ streams, receiver }) => {
    // As the page does.
    receiver.jitterBufferTarget = 0;
    speaker.srcObject = streams[0];
    speaker.play();
    heard = meter(streams[0]);
  };
  const events = connection.createDataChannel('oai-events');
  const opened = new Promise((resolve) => (events.onopen = resolve));
  // The microphone plays its recording from now on; what it plays before the call stands is silence.
  const microphone = await navigator.mediaDevices.getUserMedia({ audio });
  connection.addTrack(microphone.getAudioTracks()[0], microphone);
  const spoken = meter(microphone);
  await connection.setLocalDescription();
  const form = new FormData();
  form.set('sdp', connection.localDescription.sdp);
  form.set('session', JSON.stringify({ type: 'realtime', model }));
  const answer = await fetch('/v1/realtime/calls', { method: 'POST', body: form });
  await connection.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
  await opened;
  await new Promise((done) => setTimeout(done, seconds * 1000));
  connection.close();
  return { spoken, heard };
}

/** Stretches of sound between nothing: `[levels]`, one a clip. */
function stretches(levels) {
  const found = [];
  let quiet = Infinity;
  for (const level of levels) {
    if (level[1] <= NOTHING_DB) quiet++;
    else {
      // Half a second of nothing does not occur within a recording of a room.
      if (quiet > 50) found.push([]);
      found.at(-1).push(level);
      quiet = 0;
    }
  }
  return found.filter((stretch) => stretch.length > 50);
}

/** Where speech begins and ends, s: the rule of src/bench/energy.rs. */
function speech(levels) {
  const sorted = levels.map(([, db]) => db).sort((one, other) => one - other);
  const tenth = Math.floor(sorted.length / 10);
  const [quiet, active] = [sorted[tenth], sorted[sorted.length - 1 - tenth]];
  const threshold = Math.max(active - 40, active - quiet > 20 ? quiet + 10 : -90);
  const loud = levels.filter(([, db]) => db > threshold);
  return [loud[0][0], loud.at(-1)[0] + 0.01];
}

function judge({ spoken, heard }) {
  return stretches(spoken).map((stretch, at, all) => {
    const [begin, end] = speech(stretch);
    const next = all[at + 1]?.[0][0] ?? Infinity;
    const first = heard.find(([seconds, db]) => seconds >= begin && seconds < next && db > AUDIBLE_DB)?.[0];
    return first === undefined ? 'unanswered' : first < end ? 'cut early' : first - end;
  });
}

function quantile(values, share) {
  if (values.length === 0) return '–';
  const sorted = [...values].sort((one, other) => one - other);
  const at = share * (sorted.length - 1);
  const below = sorted[Math.floor(at)];
  return (below + ((sorted[Math.ceil(at)] ?? below) - below) * (at % 1)).toFixed(2);
}

const sounds = await decode(files());
const parts = [silence(3), ...sounds.flatMap((sound) => [sound, silence(PAUSE)])];
const seconds = parts.reduce((sum, part) => sum + part.length, 0) / 48_000;
const turns = await withServer((url) =>
  withBrowser(write(...parts), async (browser) => {
    const context = await browser.newContext({ permissions: ['microphone'] });
    const page = await context.newPage();
    await page.goto(url);
    return judge(await page.evaluate(call, { seconds, model: 'bench/short' }));
  }),
);
turns.forEach((turn, at) => console.error(`clip ${at + 1}: ${typeof turn === 'number' ? `${turn.toFixed(2)} s` : turn}`));
const answered = turns.filter((turn) => typeof turn === 'number');
const complete = answered.filter((turn) => turn <= COMPLETE);
const count = (what) => turns.filter((turn) => turn === what).length;
const split = `of ${turns.length}: ${complete.length} judged complete, ${answered.length - complete.length} waited out, ${count('cut early')} cut early, ${count('unanswered')} unanswered`;
console.log(`\`node tests/bench/browser.mjs ${clips}\` on ${availableParallelism()} cores.\n`);
console.log('| what | reach | measured |\n|---|---|---|');
console.log(
  `| end of speech to first audible sample at the listener, Chromium over WebRTC, LLM answering at once, p50 / p95, turns judged complete | 0.50 s | ${quantile(complete, 0.5)} / ${quantile(complete, 0.95)} s (n = ${complete.length}); ${split} |`,
);
