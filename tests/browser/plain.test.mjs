// Without JavaScript: everything can be read, and a database can be created.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Person, launch, press } from './lib/browser.mjs';
import { eventually } from './lib/eventually.mjs';
import { Installation, PROJECT, application, smallDatabase } from './lib/installation.mjs';

/** Loads a page again and again until it says something. */
function says(person, path, text) {
  return eventually(`${path} says ${text}`, async () => {
    await person.open(path);
    return text.test(await person.page.locator('main').innerText());
  });
}

test('without JavaScript', async (t) => {
  const boma = await Installation.start(t, {
    'orders.yaml': smallDatabase('orders'),
    'web.yaml': application('web', 'orders'),
  });
  const person = await Person.signedIn(await launch(t), boma, { javaScriptEnabled: false });
  const { page } = person;

  await t.test('the overview, a database and an application are readable', async () => {
    await says(person, '/', /orders\s+Ready[^]*web\s+Delivered/);
    await page.getByRole('link', { name: 'orders' }).first().click();
    await page.getByRole('heading', { name: 'Connection' }).waitFor();
    assert.match(await page.locator('main').innerText(), /Host\s+\S*127\.\d+|Host\s+\S+/);
    await page.getByRole('link', { name: 'web' }).first().click();
    await page.getByRole('row', { name: /DATABASE_URL.*hidden.*injected/ }).waitFor();
  });

  await t.test('the filter works', async () => {
    await person.open('/');
    await page.getByLabel('Filter').fill('nothing-like-it');
    await press(page, 'Show');
    await page.getByText('Nothing has that in its name').waitFor();
  });

  await t.test('a database is created', async () => {
    await person.open('/');
    await page.getByRole('link', { name: 'New service' }).click();
    await page.getByRole('link', { name: 'PostgreSQL' }).click();
    await page.getByLabel('Name').fill('invoices');
    await page.getByRole('radio', { name: /^free/ }).check();
    await press(page, 'See what that would do');
    assert.match(await page.locator('pre.difference').innerText(), /\+ {2}name: invoices/);
    await press(page, 'Create it');
    await says(person, `/databases/${PROJECT}/invoices`, /invoices\s+Ready/);
  });

  await t.test('nothing was said and nobody else was asked', async () => person.assertQuiet());
});
