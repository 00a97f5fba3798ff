// Two people change one manifest: the second is told, and nothing is written over.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Person, launch, press } from './lib/browser.mjs';
import { eventually } from './lib/eventually.mjs';
import { Installation, PROJECT, application } from './lib/installation.mjs';

const WEB = `/applications/${PROJECT}/web`;
const FILE = 'web.yaml';

/** Opens the file of the application as somebody who wants to change it. */
async function edit(person, variable) {
  await person.open(WEB);
  await person.page.getByText('Change the file').click();
  const text = person.page.getByLabel(/^What .* says$/);
  await text.fill((await text.inputValue()).replace(/env: .*/, `env: { ${variable}: "1" }`));
}

async function createOrders(person, plan) {
  await person.open('/new/database');
  await person.page.getByLabel('Name').fill('orders');
  await person.page.getByRole('radio', { name: new RegExp(`^${plan}`) }).check();
  await press(person.page, 'See what that would do');
}

/** They were told, where, and what to do. */
async function assertTold(person, words) {
  await person.page.getByRole('heading', { name: 'That could not be done' }).waitFor();
  assert.match(await person.page.locator('main').innerText(), words);
}

test('two people', async (t) => {
  const boma = await Installation.start(t, { [FILE]: application('web') });
  const browser = await launch(t);
  const ada = await Person.signedIn(browser, boma);
  const ben = await Person.signedIn(browser, boma);
  const original = boma.read(FILE);
  const restore = async () => {
    boma.write(FILE, original);
    await eventually('the dashboard has read the file again', async () => {
      await ada.open(WEB);
      return (await ada.page.getByLabel(/^What .* says$/).inputValue()) === original;
    });
  };

  await t.test('who agrees second to a change of one file is told', async () => {
    await edit(ada, 'ADA');
    await press(ada.page, 'See what that would do');
    await edit(ben, 'BEN');
    await press(ben.page, 'See what that would do');
    await press(ada.page, 'Write it');
    const written = boma.read(FILE);
    assert.match(written, /ADA/);
    await press(ben.page, 'Write it');
    await assertTold(ben, /web\.yaml/);
    assert.equal(boma.read(FILE), written);
  });

  await t.test('who is still typing is told when asking for the difference', async () => {
    await restore();
    await edit(ada, 'ADA');
    await edit(ben, 'BEN');
    await press(ada.page, 'See what that would do');
    await press(ada.page, 'Write it');
    await eventually('the dashboard has read what Ada wrote', async () => {
      await ada.open(WEB);
      return /ADA/.test(await ada.page.getByLabel(/^What .* says$/).inputValue());
    });
    await press(ben.page, 'See what that would do');
    await assertTold(ben, /web\.yaml/);
    assert.match(boma.read(FILE), /ADA/);
  });

  await t.test('so is who comes after an editor on the machine', async () => {
    await restore();
    await edit(ben, 'BEN');
    await press(ben.page, 'See what that would do');
    const written = original.replace(/env: .*/, 'env: { EDITOR: vi }');
    boma.write(FILE, written);
    await press(ben.page, 'Write it');
    await assertTold(ben, /web\.yaml/);
    assert.equal(boma.read(FILE), written);
  });

  await t.test('of two who create one database, the second is told', async () => {
    await createOrders(ada, 'free');
    await createOrders(ben, 'starter');
    await press(ada.page, 'Create it');
    const written = boma.read('orders.yaml');
    await press(ben.page, 'Create it');
    await assertTold(ben, /orders\.yaml/);
    assert.equal(boma.read('orders.yaml'), written);
  });
});
