// The page in a real Chromium, with recordings for a microphone: calls over both transports, and what stands in their way.
//
// TIMBRE_PAGE is the server's address, TIMBRE_PAGE_KEYED that of one that asks for the key `sk-page`, TIMBRE_PAGE_FULL that of one with a
// single place for calls; TIMBRE_RECORDINGS the folder with beckett.wav and two_cities.wav. All of them answer at once and at length, by
// way of the router `timbre/page`. With TIMBRE_SCREENSHOTS, a folder, pictures of every state are left there.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { withBrowser } from './chromium.mjs';
import { part, read, silence, write } from './sound.mjs';
import { louder, phase, says, visit } from './visit.mjs';

const { TIMBRE_PAGE: OPEN, TIMBRE_PAGE_KEYED: KEYED, TIMBRE_PAGE_FULL: FULL, TIMBRE_RECORDINGS: RECORDINGS } = process.env;

const recording = (name) => read(join(RECORDINGS, name));
/** "It was the best of times"; while it is answered, "it was the worst of times". */
const twoTurns = () => write(silence(1.5), part(recording('two_cities.wav'), 1.0, 2.75), silence(7), part(recording('two_cities.wav'), 2.85, 4.6), silence(60));

const lines = (page, who) => page.locator(`#log .${who} p`).allInnerTexts();
const notice = (page) => page.locator('#notice');

for (const transport of ['WebRTC', 'WebSocket']) {
  test(`two turns and an interruption over ${transport}`, () =>
    withBrowser(twoTurns(), (browser) =>
      visit(browser, OPEN, async (page, shot) => {
        await page.selectOption('#transport', transport.toLowerCase());
        await page.selectOption('#model', 'timbre/page');
        await shot(`${transport}-idle`);
        await page.click('#orb');
        await phase(page, 'listening');
        await page.locator('#line', { hasText: new RegExp(`^${transport} · timbre/page · 0:`) }).waitFor();

        await phase(page, 'speaking');
        await louder(page, 0.01);
        await shot(`${transport}-speaking`);
        assert.match((await lines(page, 'you'))[0], /best of times/i);
        assert.match((await lines(page, 'timbre'))[0], /Let me tell you/);

        await phase(page, 'interrupted');
        await shot(`${transport}-interrupted`);
        await page.waitForFunction(() => window.__heard.rms < 0.001);
        await page.waitForSelector('#log .timbre.cut s');
        const [heard, all] = await page.evaluate(() => {
          const words = document.querySelector('#log .timbre.cut p');
          return [words.firstChild.textContent, words.textContent];
        });
        assert.ok(heard.length < all.length && all.startsWith(heard), 'the words that were not heard are marked');

        await page.waitForFunction(() => /worst of times/i.test([...document.querySelectorAll('#log .you p')].at(-1)?.innerText ?? ''));
        await phase(page, 'speaking');
        await louder(page, 0.01);
        await page.waitForFunction(() => document.querySelector('#latency [data-stage="heard"]'));
        for (const stage of ['end', 'words', 'route', 'first', 'sound', 'heard']) {
          assert.equal(await page.locator(`#latency [data-stage="${stage}"]`).count(), 1, stage);
        }
        assert.match(await page.innerText('#route'), /page.*default.*no condition held/s);
        await page.waitForSelector('#signals [data-signal="pace"]:not(.absent)');
        assert.match(await page.innerText('#signals [data-signal="language"]'), /English/);
        if (transport === 'WebRTC') {
          const received = await page.evaluate(async () => {
            const [connection] = window.__heard.connections;
            return [...(await connection.getStats()).values()].find((entry) => entry.type === 'inbound-rtp').totalAudioEnergy;
          });
          assert.ok(received > 0, 'sound came over RTP');
        }
        await shot(`${transport}-end`);
        await page.locator('#signals > :last-child').scrollIntoViewIfNeeded();
        await shot(`${transport}-signals`);

        // What was typed interrupts as well, and is answered.
        await page.fill('#words', 'And what does it cost?');
        await page.keyboard.press('Enter');
        await page.waitForFunction(() => [...document.querySelectorAll('#log li')].at(-2)?.innerText.includes('what does it cost'));
        await phase(page, 'speaking');
        await page.keyboard.press('Escape');
        await phase(page, 'idle');
        await page.waitForFunction(() => window.__heard.rms < 0.001);
      }),
    ));
}

test('a call outlives the connection that carries it', () =>
  withBrowser(write(silence(60)), (browser) =>
    visit(browser, OPEN, async (page, shot) => {
      const relays = page.waitForResponse((response) => response.url().endsWith('/v1/realtime/ice-servers'));
      const renewed = () => page.waitForResponse((response) => response.request().method() === 'PATCH');
      const candidates = () =>
        page.evaluate(async () => {
          const stats = [...(await window.__heard.connections.at(-1).getStats()).values()];
          return stats.filter((entry) => entry.type === 'local-candidate').map((entry) => entry.usernameFragment);
        });
      await page.selectOption('#transport', 'webrtc');
      await page.click('#orb');
      assert.ok((await relays).ok(), 'the servers of ICE are asked for');
      await phase(page, 'listening');

      // Another way, as after a change of network.
      const before = await candidates();
      let renewal = renewed();
      await page.evaluate(() => window.dispatchEvent(new Event('online')));
      assert.equal((await renewal).status(), 200);
      await page.waitForFunction(() => window.__heard.connections[0].signalingState === 'stable');
      await says(page, 'Are you there?');
      assert.ok((await candidates()).some((fragment) => !before.includes(fragment)), 'ICE began anew');
      assert.equal(await page.evaluate(() => window.__heard.connections.length), 1);

      // Another connection. One that is closed says goodbye, and the call ends; one that breaks does not.
      const breaks = () => {
        const connection = window.__heard.connections.at(-1);
        Object.defineProperty(connection, 'connectionState', { value: 'failed' });
        connection.dispatchEvent(new Event('connectionstatechange'));
      };
      renewal = renewed();
      await page.evaluate(breaks);
      assert.equal((await renewal).status(), 200);
      await page.waitForFunction(() => window.__heard.connections[1]?.connectionState === 'connected');
      await says(page, 'And are you still there?');
      assert.equal(await page.locator('#log .you').count(), 2, 'what was said before is still there');
      await shot('WebRTC-renewed');

      // A call that the server has given up is over, and the page says so.
      await page.route('**/v1/realtime/calls/*', (route) => route.fulfill({ status: 404, body: '{}' }));
      await page.evaluate(breaks);
      await phase(page, 'error');
      assert.match(await notice(page).innerText(), /The connection broke off/);
    }, { expected: /404/ }),
  ));

test('what stands in the way is said, with a way out', () =>
  withBrowser(write(silence(60)), async (browser) => {
    const microphone = (name) => `navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', '${name}'))`;
    for (const [before, words] of [
      [microphone('NotFoundError'), /No microphone was found/],
      [microphone('NotAllowedError'), /microphone is blocked/],
      [microphone('NotReadableError'), /in use/],
      ["Object.defineProperty(navigator, 'mediaDevices', { value: undefined })", /No microphone at this address.*http:\/\/localhost:\d+/s],
    ]) {
      await visit(
        browser,
        OPEN,
        async (page, shot) => {
          await page.click('#orb');
          await notice(page).waitFor();
          await phase(page, 'error');
          assert.match(await notice(page).innerText(), words);
          await shot(`trouble-${words.source.replace(/\W+/g, '-').slice(0, 30)}`);
          await notice(page).getByRole('button', { name: 'Type instead' }).click();
          await page.keyboard.type('Hello?');
          await page.keyboard.press('Enter');
          await phase(page, 'speaking');
          await louder(page, 0.01);
          assert.match(await page.innerText('#line'), /^WebSocket/);
        },
        { before },
      );
    }
    // No UDP: the call goes over WebSocket by itself, or says so.
    const noIce = "RTCPeerConnection.prototype.setRemoteDescription = async () => {}";
    await visit(
      browser,
      OPEN,
      async (page) => {
        await page.click('#orb');
        await phase(page, 'listening');
        assert.match(await page.innerText('#line'), /^WebSocket/);
      },
      { before: noIce },
    );
  }));

test('a server that asks for a key gets one', () =>
  withBrowser(write(silence(60)), (browser) =>
    visit(
      browser,
      KEYED,
      async (page, shot) => {
        await notice(page).getByText('asks for a key').waitFor();
        for (const transport of ['websocket', 'webrtc']) {
          await page.selectOption('#transport', transport);
          await page.click('#orb');
          await phase(page, 'error');
          await notice(page).getByText('asks for a key').waitFor();
        }
        await shot('trouble-key');
        await notice(page).getByRole('button', { name: 'Enter the key' }).click();
        await shot('key');
        await page.keyboard.type('sk-page');
        await page.keyboard.press('Enter');
        await phase(page, 'listening');
        assert.match(await page.innerText('#line'), /^WebRTC/);
        assert.deepEqual(await page.evaluate(() => Object.keys(localStorage).filter((name) => localStorage[name].includes('sk-'))), []);
        await page.keyboard.press('Escape');
        await page.selectOption('#transport', 'websocket');
        await page.click('#orb');
        await phase(page, 'listening');
      },
      { expected: /401/ },
    ),
  ));

test('a busy server says when to come back', () =>
  withBrowser(write(silence(60)), (browser) =>
    visit(browser, FULL, async (first) => {
      await first.click('#orb');
      await phase(first, 'listening');
      await visit(
        browser,
        FULL,
        async (page, shot) => {
          for (const transport of ['webrtc', 'websocket']) {
            await page.selectOption('#transport', transport);
            await page.click('#orb');
            await notice(page).waitFor();
            assert.match(await notice(page).innerText(), /The server is busy.*sessions are taken.*5 s/s);
          }
          await shot('trouble-busy');
        },
        { expected: /429|WebSocket connection/ },
      );
    }),
  ));

test('it works by keyboard, on a phone, in the dark and without motion', () =>
  withBrowser(write(silence(60)), async (browser) => {
    for (const colorScheme of ['light', 'dark']) {
      await visit(
        browser,
        OPEN,
        async (page, shot) => {
          assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing is wider than the phone');
          for (const control of await page.locator('button:visible, input:visible, select:visible').all()) {
            assert.ok((await control.evaluate((element) => element.labels?.length || element.getAttribute('aria-label') || element.innerText)), 'it has a name');
          }
          await page.focus('#orb');
          await page.keyboard.press('Enter');
          await phase(page, 'listening');
          await shot(`phone-${colorScheme}`);
          await page.keyboard.press('m');
          await page.waitForSelector('#mute[aria-pressed="true"]');
          assert.match(await page.innerText('#state'), /Muted/);
          await page.keyboard.press('m');
          await page.waitForSelector('#mute[aria-pressed="false"]');
          await page.keyboard.press('/');
          assert.equal(await page.evaluate(() => document.activeElement.id), 'words');
          await page.keyboard.press('Escape');
          await phase(page, 'idle');
        },
        { colorScheme, reducedMotion: 'reduce', viewport: { width: 360, height: 740 }, hasTouch: true },
      );
    }
  }));
