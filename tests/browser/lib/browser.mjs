// Chromium, signed in to a dashboard, and watched.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { PATIENCE } from './eventually.mjs';

const output = process.env.BOMA_TEST_OUTPUT;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

export const WIDE = { width: 1280, height: 900 };
export const PHONE = { width: 390, height: 844 };

/** A browser until the test has ended. */
export async function launch(test) {
  const quiet = ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'];
  const still = ['--disable-component-update', '--disable-sync'];
  const root = process.getuid() === 0 ? ['--no-sandbox'] : [];
  const browser = await chromium.launch({
    executablePath: process.env.BOMA_CHROMIUM ?? '/usr/bin/chromium',
    args: [...quiet, ...still, ...root],
    timeout: PATIENCE,
  });
  test.after(() => browser.close());
  return browser;
}

/** A person: a browser's profile of its own, what it was told, and everything it received. */
export class Person {
  constructor(origin, context) {
    this.origin = origin;
    this.context = context;
    this.said = [];
    this.elsewhere = [];
    this.received = [];
    context.on('console', (message) => this.said.push(`${message.type()}: ${message.text()}`));
    context.on('weberror', (error) => this.said.push(`error: ${error.error()}`));
    context.on('dialog', (dialog) => {
      this.said.push(`dialog: ${dialog.message()}`);
      return dialog.dismiss();
    });
    context.on('request', (request) => {
      if (new URL(request.url()).origin !== origin) this.elsewhere.push(request.url());
    });
    context.on('response', (response) => {
      const kind = response.headers()['content-type'] ?? '';
      if (kind.startsWith('text/html')) this.received.push(response.text().catch(() => ''));
    });
  }

  /** Somebody who has no session. */
  static async outside(browser, installation, options = {}) {
    const context = await browser.newContext({ viewport: WIDE, ...options });
    context.setDefaultTimeout(PATIENCE);
    const person = new Person(installation.origin, context);
    person.page = await context.newPage();
    return person;
  }

  /** Somebody who has followed a link, and sees the overview. */
  static async signedIn(browser, installation, options = {}) {
    const person = await Person.outside(browser, installation, options);
    await person.page.goto(await installation.link());
    return person;
  }

  async open(path) {
    return this.page.goto(this.origin + path);
  }

  /** Every page and part of a page that came so far, as text. */
  async everything() {
    return (await Promise.all(this.received)).join('\n');
  }

  /**
   * Nothing was printed to the console, and nothing was asked of another host. Two lines of htmx do not count:
   * they tell of a request that was under way when a person went on, or typed another letter.
   */
  assertQuiet() {
    const isGivenUp = (line = '') => line.startsWith('error: htmx:sendAbort');
    const printed = this.said.filter(
      (line, at) =>
        !isGivenUp(line) &&
        !(line.startsWith('error: htmx:afterRequest') && isGivenUp(this.said[at + 1])),
    );
    assert.deepEqual(printed, [], 'the console');
    assert.deepEqual(this.elsewhere, [], 'requests elsewhere');
  }
}

/** Marks a page, to see later that it was not loaded again. */
export async function mark(page) {
  await page.evaluate(() => (window.theSamePage = true));
}

export async function assertNotReloaded(page) {
  assert.ok(await page.evaluate(() => window.theSamePage), 'the page was loaded again');
}

/** Presses the button that leads on, and waits for the page that it leads to. */
export async function press(page, name) {
  await Promise.all([
    page.waitForEvent('framenavigated'),
    page.getByRole('button', { name, exact: true }).click(),
  ]);
  await page.waitForLoadState();
}

/** The word beside a resource's name. */
export function phase(page, word) {
  return page.locator('h1 .badge', { hasText: new RegExp(`^${word}$`) }).waitFor();
}

/** What axe finds wrong with a page: a line for each, with where. */
export async function axeFinds(page) {
  const script = `${axe}; axe.run({ runOnly: ${JSON.stringify(RULES)} })`;
  const { violations } = await page.evaluate(script);
  return violations.map((one) => {
    const places = one.nodes.map((node) => `${node.target.join(' ')} (${node.any[0]?.message ?? node.html})`);
    return `${one.id}: ${places.join('; ')}`;
  });
}

/** Keeps what a page looks like, for people to look at. */
export async function keepPicture(page, name) {
  if (!output) return;
  mkdirSync(output, { recursive: true });
  await page.screenshot({ path: join(output, `${name}.png`), fullPage: true });
}
