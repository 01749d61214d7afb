// The page in a real Chromium over networks that change: packets take another way, or none, and there is a relay or nothing.
//
// TIMBRE_PAGE_NETWORKS is the address of a server with calls over UDP and TCP, which tells of a TURN server at the port TIMBRE_TURN_PORT of
// this machine with the secret TIMBRE_TURN_SECRET; it answers at length.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { test } from 'node:test';
import { withBrowser } from './chromium.mjs';
import { silence, write } from './sound.mjs';
import { phase, says, visit } from './visit.mjs';
import { Way, overTcp } from './way.mjs';

const { TIMBRE_PAGE_NETWORKS: SERVER, TIMBRE_TURN_PORT: TURN_PORT, TIMBRE_TURN_SECRET: TURN_SECRET, PATH } = process.env;
const quiet = write(silence(120));

/** Calls from the page; each answer of the server, to the call and to its renewals, is what the next of `roads` makes of it, and then the last. */
async function call(page, ...roads) {
  const renewals = [];
  await page.route('**/v1/realtime/calls{,/*}', async (route) => {
    const response = await route.fetch();
    if (route.request().method() === 'PATCH') renewals.push(response.status());
    await route.fulfill({ response, body: await (roads.length > 1 ? roads.shift() : roads[0])(await response.text()) });
  });
  await page.selectOption('#transport', 'webrtc');
  await page.click('#orb');
  await phase(page, 'listening');
  return renewals;
}

/** The addresses in use of the page's newest connection, and how many there were. */
const inUse = (page) =>
  page.evaluate(async () => {
    const { connections } = window.__heard;
    const stats = await connections.at(-1).getStats();
    const all = [...stats.values()];
    const pair = stats.get(all.find(({ type }) => type === 'transport').selectedCandidatePairId);
    const [local, remote] = [stats.get(pair.localCandidateId), stats.get(pair.remoteCandidateId)];
    return { connections: connections.length, kind: local.candidateType, protocol: remote.protocol, own: local.usernameFragment };
  });

test('a call goes on when its address changes', () =>
  withBrowser(quiet, (browser) =>
    visit(browser, SERVER, async (page) => {
      const way = new Way();
      const renewals = await call(page, (sdp) => way.lead(sdp));
      await says(page, 'Hello?');
      await way.move();
      await says(page, 'Are you there?');
      assert.deepEqual(renewals, [], 'nobody noticed');
      const { connections, protocol } = await inUse(page);
      assert.deepEqual([connections, protocol], [1, 'udp']);
      await way.close();
    }),
  ));

test('a call goes on over TCP when UDP falls silent', () =>
  withBrowser(quiet, (browser) =>
    visit(browser, SERVER, async (page) => {
      const way = new Way();
      const renewals = await call(page, (sdp) => way.lead(sdp), overTcp);
      await says(page, 'Hello?');
      const before = await inUse(page);
      way.cut();
      const state = (...wanted) => page.waitForFunction((wanted) => wanted.includes(window.__heard.connections[0].iceConnectionState), wanted);
      await state('disconnected', 'failed');
      await state('connected', 'completed');
      await says(page, 'And now?');
      const after = await inUse(page);
      assert.deepEqual([renewals, after.connections, after.protocol], [[200], 1, 'tcp']);
      assert.notEqual(after.own, before.own, 'ICE began anew');
      assert.equal(await page.locator('#log .you').count(), 2, 'what was said before is still there');
      await page.keyboard.press('Escape');
      await phase(page, 'idle');
      await way.close();
    }),
  ));

test('a call whose way stays silent gets another connection', () =>
  withBrowser(quiet, (browser) =>
    visit(browser, SERVER, async (page) => {
      const [first, second] = [new Way(), new Way()];
      second.cut();
      const renewals = await call(page, (sdp) => first.lead(sdp), (sdp) => second.lead(sdp), (sdp) => sdp);
      await says(page, 'Hello?');
      first.cut();
      await page.waitForFunction(() => window.__heard.connections[1]?.connectionState === 'connected');
      await says(page, 'Are you still there?');
      assert.deepEqual([renewals, (await inUse(page)).connections], [[200, 200], 2]);
      assert.equal(await page.locator('#log .you').count(), 2, 'what was said before is still there');
      await first.close();
      await second.close();
    }),
  ));

/** coturn, which knows of nobody but whom the secret lets in. */
function relay() {
  const folder = mkdtempSync(join(tmpdir(), 'timbre-turn-'));
  const options = ['-n', '--listening-ip=127.0.0.1', '--relay-ip=127.0.0.1', `--listening-port=${TURN_PORT}`, '--use-auth-secret'];
  options.push(`--static-auth-secret=${TURN_SECRET}`, '--realm=timbre', '--allow-loopback-peers', '--no-tls', '--no-dtls', '--no-cli');
  options.push(`--pidfile=${folder}/pid`, `--userdb=${folder}/db`, '--log-file=stdout');
  const turn = spawn('turnserver', options, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  // A page that asks before it listens asks again.
  for (const output of [turn.stdout, turn.stderr]) output.on('data', (text) => (log += text));
  const stop = async () => {
    turn.kill();
    if (turn.exitCode === null) await once(turn, 'exit');
    rmSync(folder, { recursive: true, force: true });
  };
  return { log: () => log, stop };
}

const hasTurn = PATH.split(delimiter).some((folder) => existsSync(join(folder, 'turnserver')));

test('a call goes through a TURN server', { skip: !hasTurn && 'no turnserver (coturn)' }, async () => {
  const turn = relay();
  const relayed = () => {
    const Connection = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Connection {
      constructor(options) {
        super({ ...options, iceTransportPolicy: 'relay' });
      }
    };
  };
  try {
    await withBrowser(quiet, (browser) =>
      visit(
        browser,
        SERVER,
        async (page) => {
          await call(page, (sdp) => sdp);
          await says(page, 'Hello?');
          assert.match(await page.innerText('#line'), /^WebRTC/);
          const { kind } = await inUse(page);
          assert.equal(kind, 'relay', turn.log());
        },
        { before: relayed },
      ),
    );
  } finally {
    await turn.stop();
  }
});
