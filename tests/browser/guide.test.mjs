// The reference guide, word for word: create a PostgreSQL database from the dashboard, attach it to a
// service, run migrations, rotate the credentials; and what it says about backups.
import assert from 'node:assert/strict';
import test from 'node:test';
import { launch, Person, assertNotReloaded, axeFinds, keepPicture, mark, phase, press } from './lib/browser.mjs';
import { eventually } from './lib/eventually.mjs';
import { Installation, PROJECT, manifest } from './lib/installation.mjs';

const WEB = `/applications/${PROJECT}/web`;
const ORDERS = `/databases/${PROJECT}/orders`;

/** A web service that is there, and may use no database. */
const WEB_SERVICE = manifest('Application', 'web', '  source: { command: ["sleep", "86400"] }\n');

/** The times that a page shows, by the words before them. */
const fact = (page, term) => page.locator('dl.facts > div', { hasText: term }).locator('dd');

test('the reference guide can be walked word for word', async (t) => {
  const boma = await Installation.start(t, { 'shop/web.yaml': WEB_SERVICE });
  const ada = await Person.signedIn(await launch(t), boma);
  const { page } = ada;
  const urls = new Set();
  const remember = async () => {
    const { DATABASE_URL: url } = await boma.env('web');
    if (url) urls.add(url);
    return url;
  };
  const passwords = () => [...urls].map((url) => new URL(url).password);
  const pictured = async (name, walk) => {
    try {
      await walk();
    } catch (error) {
      await keepPicture(page, `guide-failed-${name.replace(/\W+/g, '-')}`);
      throw error;
    }
  };
  // What a step leads to, the next ones need; whether the page lives, they do not.
  let stuck = false;
  const step = (name, walk) =>
    t.test(name, { skip: stuck && 'a step before it failed' }, async () => {
      stuck = true;
      await pictured(name, walk);
      stuck = false;
    });
  const also = (name, look) =>
    t.test(name, { skip: stuck && 'a step before it failed' }, () => pictured(name, look));

  await step('New service, Database, PostgreSQL: version 16, 5 GiB, a plan', async () => {
    await page.getByRole('link', { name: 'New service' }).click();
    await page.getByRole('heading', { name: 'Database' }).waitFor();
    await page.getByRole('link', { name: 'PostgreSQL' }).click();
    await page.getByLabel('Name').fill('orders');
    await page.getByRole('radio', { name: '16', exact: true }).check();
    await page.getByRole('radio', { name: /^pro/ }).check();
    await page.getByLabel('Storage in GiB').fill('5');
    await keepPicture(page, 'guide-1-new-database');
    await press(page, 'See what that would do');
  });

  await step('the difference and the plan are shown before anything is written', async () => {
    const difference = await page.locator('pre.difference').innerText();
    for (const line of ['+kind: Database', '+  name: orders', '+  version: "16"', '+  plan: pro', '+    size: 5Gi']) {
      assert.ok(difference.includes(line), `no ${line} in:\n${difference}`);
    }
    assert.match(await page.locator('pre.plan').innerText(), /orders/);
    await keepPicture(page, 'guide-2-difference');
    assert.throws(() => boma.read('shop/orders.yaml'), { code: 'ENOENT' });
    assert.equal(await boma.does('describe', 'database/orders'), false);
  });

  await step('Create it writes the manifest', async () => {
    await press(page, 'Create it');
    assert.match(boma.read('shop/orders.yaml'), /version: "16"/);
  });

  await also('the page that follows becomes Ready by itself', async () => {
    assert.equal(new URL(page.url()).pathname, ORDERS);
    assert.match(await page.locator('h1').innerText(), /^orders/);
    await mark(page);
    await phase(page, 'Ready');
    await assertNotReloaded(page);
    await keepPicture(page, 'guide-3-ready');
  });

  await also('what can be done with the new database appears by itself too', async () => {
    await page.getByRole('button', { name: 'Back up now' }).waitFor();
    await assertNotReloaded(page);
  });

  await step('Environment, Attach database: the difference is shown first', async () => {
    await boma.becomes('database/orders', 'Ready');
    await ada.open(WEB);
    await page.getByText('Attach database').click();
    await page.getByLabel('Database', { exact: true }).selectOption({ label: 'orders' });
    await keepPicture(page, 'guide-4-attach');
    await press(page, 'See what that would do');
    assert.match(await page.locator('pre.difference').innerText(), /\+\s+- name: orders/);
    await keepPicture(page, 'guide-5-attach-difference');
    assert.doesNotMatch(boma.read('shop/web.yaml'), /orders/);
    await press(page, 'Attach it');
    assert.equal(new URL(page.url()).pathname, WEB);
    await mark(page);
  });

  await also('DATABASE_URL appears as injected, without a reload', async () => {
    const row = page.getByRole('row', { name: /DATABASE_URL/ });
    await row.waitFor();
    assert.match(await row.innerText(), /hidden\s+injected/);
    await page.getByRole('button', { name: 'Rotate: orders' }).waitFor();
    await assertNotReloaded(page);
  });

  await also('comments of the manifest survive', async () => {
    const text = boma.read('shop/web.yaml');
    assert.match(text, /^# Who changes this asks the shop's people first\.$/m);
    assert.match(text, /environment: production # the real one/);
    assert.match(text, /name: orders/);
  });

  await step('the application is given what it needs', async () => {
    await ada.open(WEB);
    await phase(page, 'Running');
    await page.getByRole('row', { name: /DATABASE_URL.*hidden.*injected/ }).waitFor();
    await eventually('the variable is in its environment', remember);
    await keepPicture(page, 'guide-6-attached');
  });

  await step('a migration runs with the injected variable', async () => {
    const statement = "create table orders (id int primary key); insert into orders values (1), (2)";
    await boma.boma('run', 'web', '--wait', '--', 'sh', '-c', `psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -Xqc "${statement}"`);
    assert.equal(await boma.sql('orders', 'select count(*) from orders'), '2');
  });

  const since = (page) => page.getByRole('row', { name: /orders.*Rotate/ }).getByText(/since/).innerText();
  const watching = await ada.context.newPage();
  let first;
  await step('Rotate exchanges the password', async () => {
    await ada.open(WEB);
    first = await since(page);
    await watching.goto(page.url());
    await mark(watching);
    const before = await remember();
    await press(page, 'Rotate: orders');
    const after = await eventually('another connection string', async () => {
      const url = await remember();
      return url !== before && url;
    });
    const select = ['run', 'web', '--', 'psql', after, '-XAtqc', 'select count(*) from orders'];
    assert.equal((await boma.boma(...select)).trim(), '2');
    await keepPicture(page, 'guide-7-rotated');
  });

  let moment;
  await step('Back up now takes a base backup', async () => {
    moment = await boma.sql('orders', `select to_json(clock_timestamp() at time zone 'utc')#>>'{}' || 'Z'`);
    await boma.sql('orders', 'insert into orders values (3)');
    await ada.open(ORDERS);
    await eventually('a first backup', async () => /\d{4}-/.test(await fact(page, 'Last backup').innerText()));
    const before = await fact(page, 'Last backup').innerText();
    await press(page, 'Back up now');
    await mark(page);
    await eventually('a later backup', async () => {
      const now = await fact(page, 'Last backup').innerText();
      return now !== before && /\d{4}-/.test(now);
    });
    await assertNotReloaded(page);
    await keepPicture(page, 'guide-8-backed-up');
  });

  await also('a base backup on the strip of what can be restored fills in its moment', async () => {
    await ada.open(ORDERS);
    const backup = page.getByRole('link', { name: /when base backup .* had ended/ }).last();
    const [, picked] = /Restore to (\S+),/.exec(await backup.getAttribute('aria-label'));
    await backup.focus();
    await page.keyboard.press('Enter');
    await page.waitForURL(/moment=.*#restore$/);
    assert.equal(await page.getByLabel('Moment').inputValue(), picked);
    assert.deepEqual(await axeFinds(page), []);
    await keepPicture(page, 'guide-8b-moment-picked');
  });

  await step('a restore to a moment: the difference is shown first', async () => {
    await ada.open(ORDERS);
    await page.getByLabel('Moment').fill(moment);
    await page.getByLabel('Name of the new database').fill('orders-before');
    await press(page, 'See what a restore would do');
    const difference = await page.locator('pre.difference').innerText();
    assert.match(difference, /\+\s+targetTime: /);
    await keepPicture(page, 'guide-9-restore');
    await press(page, 'Restore it');
  });

  await also('the page that follows becomes Ready too', async () => {
    assert.match(await page.locator('h1').innerText(), /^orders-before/);
    await phase(page, 'Ready');
    await keepPicture(page, 'guide-10-restored');
  });

  await step('the new database has the rows of that moment, and the other one has kept its own', async () => {
    await boma.becomes('database/orders-before', 'Ready');
    assert.equal(await boma.sql('orders-before', 'select string_agg(id::text, \',\' order by id) from orders'), '1,2');
    assert.equal(await boma.sql('orders', 'select count(*) from orders'), '3');
  });

  await step('the restored database is retired: the file goes, and its data stays', async () => {
    await ada.open(`/databases/${PROJECT}/orders-before`);
    await press(page, 'See what retiring it would do');
    await page.getByRole('heading', { name: /^The file .*orders-before\.yaml goes$/ }).waitFor();
    assert.match(await page.locator('pre.difference').innerText(), /-kind: Database/);
    assert.deepEqual(await axeFinds(page), []);
    await keepPicture(page, 'guide-11-retire');
    await press(page, 'Retire it');
    await phase(page, 'Retired');
    await keepPicture(page, 'guide-12-retired');
    await boma.becomes('database/orders-before', 'Retired');
  });

  await also('the former password is refused in the end, and the other one is not', async () => {
    const [before] = urls;
    // Asking whether it still works would keep it open.
    await eventually('the exchange is over', async () =>
      /password since/.test(await boma.boma('describe', 'application/web')),
    );
    await assert.rejects(boma.boma('run', 'web', '--', 'psql', before, '-Xqc', 'select 1'), /FATAL/);
    const { DATABASE_URL: now } = await boma.env('web');
    assert.equal((await boma.boma('run', 'web', '--', 'psql', now, '-XAtqc', 'select 1')).trim(), '1');
  });

  await also('a page that stayed open all the time shows since when there is another password', async () => {
    await eventually('another moment', async () => (await since(watching)) !== first);
    await assertNotReloaded(watching);
  });

  await also('no page ever had a password in it', async () => {
    for (const path of ['/', WEB, ORDERS, `/logs${WEB}`, `/logs${ORDERS}`, '/plan', '/events', '/audit']) await ada.open(path);
    assert.equal(urls.size, 2);
    const everything = await ada.everything();
    assert.match(everything, /DATABASE_URL/);
    for (const password of passwords()) assert.ok(!everything.includes(password), 'a password was in a page');
  });

  await also('except where somebody asks for it, which is recorded', async () => {
    await ada.open(WEB);
    await page.getByRole('button', { name: 'Reveal: orders' }).click();
    await page.getByText('postgres').first().waitFor();
    assert.ok((await page.content()).includes(passwords().at(-1)));
    await ada.open('/audit');
    await page.getByRole('cell', { name: /reveal/ }).first().waitFor();
  });

  await also('and nothing was said on the console', async () => ada.assertQuiet());
});
