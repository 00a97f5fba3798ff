// What is measured is shown as it moves, to everybody, and leaves what a person has unfolded as it is.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { PHONE, Person, assertNotReloaded, axeFinds, keepPicture, launch, mark } from './lib/browser.mjs';
import { eventually } from './lib/eventually.mjs';
import { Installation, PROJECT, application, smallDatabase } from './lib/installation.mjs';

const PAGE = `/databases/${PROJECT}/orders`;

/** The highest value, as a chart says it in words. */
async function highest(page, title) {
  const said = await page.getByRole('img', { name: new RegExp(`^${title} over the last`) }).getAttribute('aria-label');
  return Number(/highest ([0-9.]+)/.exec(said)?.[1]);
}

async function fits(page) {
  return page.evaluate(() => document.scrollingElement.scrollWidth <= innerWidth);
}

test('charts', async (t) => {
  const boma = await Installation.start(t, { 'orders.yaml': smallDatabase('orders') });
  const browser = await launch(t);
  await boma.becomes('database/orders', 'Ready');
  const person = await Person.signedIn(browser, boma);
  const { page } = person;

  await t.test('move while somebody looks, and what is unfolded stays so', async () => {
    await person.open(PAGE);
    await mark(page);
    await page.getByText('The values').click();
    const load = join(boma.home, 'load.sql');
    writeFileSync(load, 'SELECT count(*) FROM pg_class;\n'.repeat(4000));
    await eventually('a rate is known', () => highest(page, 'Transactions'));
    const before = await highest(page, 'Transactions');
    await boma.boma('psql', 'orders', '--', '-Xq', '-o', '/dev/null', '-f', load);
    await eventually('the chart moves', async () => (await highest(page, 'Transactions')) > before + 10);
    await assertNotReloaded(page);
    assert.ok(await page.locator('#values').getAttribute('open') !== null, 'the values are folded');
    person.assertQuiet();
  });

  const { cookies } = await person.context.storageState();
  for (const [name, options] of [
    ['light-wide', {}],
    ['dark-phone', { colorScheme: 'dark', viewport: PHONE }],
    ['without-scripts', { javaScriptEnabled: false }],
  ]) {
    await t.test(`are for everybody: ${name}`, async () => {
      const storageState = { cookies, origins: [] };
      const other = await Person.outside(browser, boma, { ...options, storageState });
      await other.open(PAGE);
      await other.page.getByRole('img', { name: /^Connections over the last/ }).waitFor();
      await other.page.getByText('The values').click();
      await other.page.getByRole('rowheader').first().waitFor();
      await keepPicture(other.page, `charts-${name}`);
      if (options.javaScriptEnabled !== false) {
        assert.deepEqual(await axeFinds(other.page), []);
        assert.ok(await fits(other.page), 'the page scrolls sideways');
      }
      other.assertQuiet();
      await other.context.close();
    });
  }
});

test('what servers and applications tell', async (t) => {
  const counted = smallDatabase('orders').replace('spec:\n', 'spec:\n  extensions: [pg_stat_statements]\n');
  const source = `  source: { command: 'echo it runs; exec sleep 1000' }\n  preDeploy: 'echo migrated'\n`;
  const web = application('web', 'orders').replace('spec:\n', `spec:\n${source}`);
  const boma = await Installation.start(t, { 'orders.yaml': counted, 'web.yaml': web });
  const browser = await launch(t);
  await boma.becomes('database/orders', 'Ready');
  await boma.becomes('application/web', 'Running');
  await boma.boma('run', 'web', '--', 'sh', '-c', 'psql -Xqc "SELECT count(*) FROM pg_class WHERE relname = \'a\'" "$DATABASE_URL"');
  const person = await Person.signedIn(browser, boma);
  const { cookies } = await person.context.storageState();
  const pages = {
    'slow-queries': async (page) => {
      await page.goto(boma.origin + PAGE);
      await page.getByRole('link', { name: 'Slow queries' }).click();
      await page.getByRole('columnheader', { name: 'Time together' }).waitFor();
    },
    'log': async (page) => {
      await page.goto(boma.origin + PAGE);
      await page.getByRole('link', { name: 'Log', exact: true }).click();
      await page.getByLabel('With').fill('ready to accept');
      await page.getByRole('button', { name: 'Show' }).click();
      await page.getByText('1 message,').waitFor();
    },
    'deploys': async (page) => {
      await page.goto(`${boma.origin}/applications/${PROJECT}/web`);
      await page.getByText('What it printed').click();
      await page.getByText('migrated', { exact: true }).waitFor();
    },
    'printed': async (page) => {
      await page.goto(`${boma.origin}/applications/${PROJECT}/web`);
      await page.getByRole('link', { name: 'What it prints' }).click();
      await page.getByText('it runs').waitFor();
    },
    'plan-as-a-graph': async (page) => {
      await page.goto(`${boma.origin}/new/database`);
      await page.getByLabel('Name').fill('another');
      await page.getByRole('button', { name: 'See what that would do' }).click();
      await page.getByRole('img', { name: /steps from left to right/ }).waitFor();
      await page.getByText('The same in words').click();
    },
  };
  for (const [size, options] of [['light-wide', {}], ['dark-phone', { colorScheme: 'dark', viewport: PHONE }]]) {
    for (const [name, lead] of Object.entries(pages)) {
      await t.test(`${name}, ${size}`, async () => {
        const other = await Person.outside(browser, boma, { ...options, storageState: { cookies, origins: [] } });
        await lead(other.page);
        await keepPicture(other.page, `${name}-${size}`);
        assert.deepEqual(await axeFinds(other.page), []);
        assert.ok(await fits(other.page), 'the page scrolls sideways');
        other.assertQuiet();
        await other.context.close();
      });
    }
  }
});
