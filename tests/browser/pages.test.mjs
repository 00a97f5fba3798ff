// Every page, in light and dark, on a desk and on a phone: usable by everybody, quiet, and of this
// server alone.
import assert from 'node:assert/strict';
import test from 'node:test';
import { PHONE, Person, WIDE, axeFinds, keepPicture, launch, press } from './lib/browser.mjs';
import { Installation, PROJECT, application, manifest, smallDatabase } from './lib/installation.mjs';

const DATABASE = `/databases/${PROJECT}/orders`;
const APPLICATION = `/applications/${PROJECT}/web`;

/** Leads to the page that shows what a new database would do. */
async function preview(page, name) {
  await page.getByLabel('Name').fill(name);
  await press(page, 'See what that would do');
}

const opened = (path) => (person) => person.open(path);

/** Leads to the page that shows what another text of the database's manifest would do. */
const edited = (from, to) => async (person) => {
  await person.open(DATABASE);
  await person.page.getByText('Change the file').click();
  const text = person.page.getByLabel(/^What .* says$/);
  await text.fill((await text.inputValue()).replace(from, to));
  await press(person.page, 'See what that would do');
};

const PAGES = {
  overview: opened('/'),
  'overview filtered': opened('/?filter=web'),
  'overview with nothing found': opened('/?filter=no-such-thing'),
  database: opened(DATABASE),
  'database being edited': async (person) => {
    await person.open(DATABASE);
    await person.page.getByText('Change the file').click();
  },
  application: opened(APPLICATION),
  'application being attached': async (person) => {
    await person.open(APPLICATION);
    await person.page.getByText('Attach database').click();
  },
  new: opened('/new'),
  'new database': opened('/new/database'),
  'new application': opened('/new/application'),
  'preview of a database': async (person) => {
    await person.open('/new/database');
    await preview(person.page, 'another');
  },
  'preview of a change': edited('cpuCount: 0.5', 'cpuCount: 1'),
  'preview with an error': edited('cpuCount: 0.5', 'cpuCout: 1'),
  'preview with a danger': edited('spec:', 'spec:\n  deletionProtection: false'),
  plan: opened('/plan'),
  events: opened('/events'),
  audit: opened('/audit'),
  people: opened('/people'),
  'sign in': opened('/sign-in'),
  api: opened('/api'),
  secret: async (person) => {
    await person.open(APPLICATION);
    await person.page.getByRole('button', { name: 'Reveal: orders' }).click();
    await person.page.getByText('is in the audit trail').waitFor();
  },
};

// Colours and widths have nothing to do with each other: each is looked at once.
const LOOKS = [
  ['light', 'wide', WIDE],
  ['dark', 'phone', PHONE],
];

test('pages for everybody', async (t) => {
  const boma = await Installation.start(t, {
    'orders.yaml': smallDatabase('orders'),
    'spare.yaml': smallDatabase('spare'),
    'web.yaml': application('web', 'orders'),
    'long.yaml': manifest('Application', 'an-application-with-a-very-long-name-abc', `  env:
    A_VARIABLE_WITH_A_VERY_LONG_NAME_THAT_DOES_NOT_FIT: "${'without-a-blank-'.repeat(12)}"
`),
  });
  const browser = await launch(t);
  await boma.becomes('database/orders', 'Ready');
  await boma.becomes('database/spare', 'Ready');
  await boma.becomes('application/web', 'Delivered');
  await boma.boma('people', 'invite', 'ana@shop.example', '--role', `developer:${PROJECT}`);
  await boma.boma('token', 'create', 'ci', '--role', 'viewer');
  const first = await Person.signedIn(browser, boma);
  const { cookies } = await first.context.storageState();

  await t.test('a planted fault is found', async () => {
    const { page } = await Person.outside(browser, boma, { storageState: { cookies, origins: [] } });
    await page.goto(boma.origin);
    assert.deepEqual(await axeFinds(page), []);
    await page.evaluate(() => {
      const wide = document.createElement('div');
      Object.assign(wide.style, { width: '5000px', height: '1px' });
      document.querySelector('main').append(document.createElement('img'), wide);
    });
    const [found, ...others] = await axeFinds(page);
    assert.match(found, /^image-alt: /);
    assert.deepEqual(others, []);
    assert.equal(await fits(page), false);
  });

  for (const [colorScheme, size, viewport] of LOOKS) {
    for (const [name, lead] of Object.entries(PAGES)) {
      await t.test(`${name}, ${colorScheme}, ${size}`, async () => {
        const options = { viewport, colorScheme, storageState: { cookies, origins: [] } };
        const person = await Person.outside(browser, boma, options);
        await lead(person);
        await assertGood(person, `${name}-${colorScheme}-${size}`);
        person.assertQuiet();
      });
    }

    await t.test(`signed out, ${colorScheme}, ${size}`, async () => {
      const person = await Person.outside(browser, boma, { viewport, colorScheme });
      assert.equal((await person.open('/')).status(), 401);
      await assertGood(person, `signed-out-${colorScheme}-${size}`);
      // The browser's own word about the status of the answer.
      person.said = person.said.filter((line) => !/^error: Failed to load resource: .* 401/.test(line));
      person.assertQuiet();
    });
  }
});

/** Whether the page itself does not scroll sideways. */
function fits(page) {
  return page.evaluate(() => document.scrollingElement.scrollWidth <= innerWidth);
}

async function assertGood(person, name) {
  await keepPicture(person.page, name.replaceAll(' ', '-'));
  const found = await axeFinds(person.page);
  const fitting = await fits(person.page);
  await person.context.close();
  assert.deepEqual(found, []);
  assert.ok(fitting, 'the page scrolls sideways');
}
