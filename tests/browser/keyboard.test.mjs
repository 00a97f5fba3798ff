// With the keyboard alone.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Person, launch } from './lib/browser.mjs';
import { Installation, PROJECT, application } from './lib/installation.mjs';

/** More stops than any page has. */
const STOPS = 100;

/** What has the focus: its role in words, its name, and whether one can see that it has it. */
function focused(page) {
  return page.evaluate(() => {
    const element = document.activeElement;
    const label = element.labels?.[0]?.innerText ?? element.innerText;
    const { outlineStyle, outlineWidth } = getComputedStyle(element);
    return { name: label.trim(), visible: outlineStyle !== 'none' && outlineWidth !== '0px' };
  });
}

/** Presses Tab until something of a name has the focus. Each stop on the way is to be seen. */
async function tabTo(page, name) {
  const stops = [];
  while (stops.length < STOPS) {
    await page.keyboard.press('Tab');
    const stop = await focused(page);
    assert.ok(stop.visible, `nobody sees that ${stop.name} has the focus`);
    if (name.test(stop.name)) return;
    stops.push(stop.name);
  }
  assert.fail(`Tab does not lead to ${name}: ${stops.join(', ')}`);
}

/** Presses Enter where that leads to another page, and waits for it. */
async function enter(page, path) {
  await Promise.all([page.waitForURL((url) => url.pathname === path), page.keyboard.press('Enter')]);
  await page.waitForLoadState();
}

test('with the keyboard alone', async (t) => {
  const boma = await Installation.start(t, { 'web.yaml': application('web') });
  const person = await Person.signedIn(await launch(t), boma);
  const { page } = person;

  await t.test('the first stop leads past the menu', async () => {
    await person.open('/');
    await page.keyboard.press('Tab');
    assert.equal((await focused(page)).name, 'To the content');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.activeElement.id === 'main');
  });

  await t.test('a database is made, from the overview to its page', async () => {
    await person.open('/');
    await tabTo(page, /^New service$/);
    await enter(page, '/new');
    await tabTo(page, /^PostgreSQL/);
    await enter(page, '/new/database');
    await tabTo(page, /^Name$/);
    await page.keyboard.type('orders');
    await tabTo(page, /^the platform's$/);
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowRight');
    assert.equal((await focused(page)).name, '16');
    await tabTo(page, /^starter/);
    await page.keyboard.press('ArrowLeft');
    assert.match((await focused(page)).name, /^free/);
    await tabTo(page, /^Storage in GiB$/);
    await page.keyboard.type('2');
    await tabTo(page, /^See what that would do$/);
    await page.keyboard.press('Enter');
    await page.locator('pre.difference').waitFor();
    await tabTo(page, /^Create it$/);
    await enter(page, `/databases/${PROJECT}/orders`);
    const text = boma.read('orders.yaml');
    assert.match(text, /version: "16"\n {2}plan: free\n {2}storage:\n {4}size: 2Gi/);
  });

  await t.test('nothing was said on the console', async () => person.assertQuiet());
});
