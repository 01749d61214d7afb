// A real Chromium with a recording for a microphone.

import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** Where Chromium is; `undefined`: nowhere. */
export const place = () => [process.env.TIMBRE_CHROMIUM, ...PLACES].find((path) => path && existsSync(path));

/**
 * Runs it with `wav` (bytes of a file; played once, from when the page opens its microphone) for a microphone, and gives `use` the browser.
 */
export async function withBrowser(wav, use) {
  const folder = mkdtempSync(join(tmpdir(), 'timbre-browser-'));
  const file = join(folder, 'microphone.wav');
  writeFileSync(file, wav);
  const args = [
    '--use-fake-device-for-media-stream',
    '--use-fake-ui-for-media-stream',
    `--use-file-for-fake-audio-capture=${file}%noloop`,
    // Containers have no namespaces for its sandbox; it opens nothing but our own page.
    '--no-sandbox',
  ];
  const browser = await chromium.launch({ executablePath: place(), args });
  try {
    return await use(browser);
  } finally {
    await browser.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * What a page does before its own scripts: everything that is sent to the loudspeakers also goes through an analyser, and connections can be
 * asked for their statistics.
 */
export function listenIn() {
  const heard = { rms: 0, peak: 0, connections: [], analysers: [] };
  window.__heard = heard;
  const watch = (context, node) => {
    const analyser = new AnalyserNode(context, { fftSize: 2048 });
    node.connect(analyser);
    heard.analysers.push(analyser);
  };
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (to, ...rest) {
    if (to === this.context.destination) watch(this.context, this);
    return connect.call(this, to, ...rest);
  };
  const source = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, 'srcObject');
  Object.defineProperty(HTMLMediaElement.prototype, 'srcObject', {
    ...source,
    set(stream) {
      source.set.call(this, stream);
      if (!stream) return;
      const context = new AudioContext();
      watch(context, context.createMediaStreamSource(stream));
    },
  });
  const Connection = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Connection {
    constructor(...given) {
      super(...given);
      heard.connections.push(this);
    }
  };
  const sound = new Float32Array(2048);
  setInterval(() => {
    heard.rms = 0;
    for (const analyser of heard.analysers) {
      if (analyser.context.state === 'closed') continue;
      analyser.getFloatTimeDomainData(sound);
      heard.rms = Math.max(heard.rms, Math.sqrt(sound.reduce((sum, sample) => sum + sample * sample, 0) / sound.length));
    }
    heard.peak = Math.max(heard.peak, heard.rms);
  }, 20);
}
