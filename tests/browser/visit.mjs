// What the page's suites share: a visit to it, and what can be seen and heard there.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { listenIn } from './chromium.mjs';

const { TIMBRE_SCREENSHOTS } = process.env;
/** Nothing that is waited for takes longer, ms; loaded machines are slow. */
const PATIENCE = 40_000;

/** A page of `url`, prepared by `before`, which is given `known`; whatever it complains of in its console is an error here. */
export async function visit(browser, url, use, { before, known, expected = /^$/, ...options } = {}) {
  const context = await browser.newContext({ permissions: ['microphone'], viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const complaints = [];
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(String(error)));
  await page.addInitScript(listenIn);
  if (before) await page.addInitScript(before, known);
  await page.goto(url);
  try {
    await use(page, (name) => TIMBRE_SCREENSHOTS && page.screenshot({ path: join(TIMBRE_SCREENSHOTS, `${name}.png`) }));
  } catch (error) {
    error.message += `\n  The page is ${await page.evaluate(() => document.body.dataset.phase)} and shows:\n${await page.innerText('#log')}`;
    throw error;
  }
  assert.deepEqual(complaints.filter((text) => !expected.test(text)), []);
  await context.close();
}

export const phase = (page, wanted) => page.waitForFunction((wanted) => document.body.dataset.phase === wanted, wanted);
export const louder = (page, rms) => page.waitForFunction((rms) => window.__heard.rms > rms, rms);

/** Types `words`; they are answered, and the answer sounds. */
export async function says(page, words) {
  await page.fill('#words', words);
  await page.keyboard.press('Enter');
  await page.waitForFunction((words) => [...document.querySelectorAll('#log li')].at(-2)?.innerText.includes(words), words);
  await phase(page, 'speaking');
  await louder(page, 0.01);
}
