// What is asked for while something changes.
import test from 'node:test';
import { Person, launch } from './lib/browser.mjs';
import { Installation, smallDatabase } from './lib/installation.mjs';

test('a filter that is typed while something changes stays', async (t) => {
  const boma = await Installation.start(t, {
    'orders.yaml': smallDatabase('orders'),
    'stock.yaml': smallDatabase('stock'),
  });
  const { page } = await Person.signedIn(await launch(t), boma);
  await page.goto(boma.origin);
  await page.getByRole('link', { name: 'stock' }).waitFor();

  // The answer to the filter is held back until something has changed.
  let asked, answer;
  const isAsked = new Promise((resolve) => (asked = resolve));
  const mayAnswer = new Promise((resolve) => (answer = resolve));
  await page.route('**/?filter=orders', async (route) => {
    asked();
    await mayAnswer;
    await route.continue();
  });
  await page.getByLabel('Filter').fill('orders');
  await isAsked;
  await page.evaluate(() => globalThis.htmx.trigger('#live', 'changed'));
  answer();
  await page.getByRole('link', { name: 'stock' }).waitFor({ state: 'detached' });
  await page.getByRole('link', { name: 'orders' }).waitFor();

  // What changes afterwards is shown through the filter.
  await page.unrouteAll({ behavior: 'wait' });
  const again = page.waitForResponse((response) => response.url().endsWith('/?filter=orders'));
  await page.evaluate(() => globalThis.htmx.trigger('#live', 'changed'));
  await again;
  await page.getByRole('link', { name: 'orders' }).waitFor();
});
