// Somebody is invited, chooses a password, does what they may, and is let in by the password again.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import test from 'node:test';
import { Person, axeFinds, keepPicture, launch, press } from './lib/browser.mjs';
import { Installation, PROJECT, application, smallDatabase } from './lib/installation.mjs';

const DATABASE = `/databases/${PROJECT}/orders`;

test('people', async (t) => {
  const boma = await Installation.start(t, {
    'orders.yaml': smallDatabase('orders'),
    'web.yaml': application('web', 'orders'),
  });
  const browser = await launch(t);
  await boma.becomes('database/orders', 'Ready');
  const owner = await Person.signedIn(browser, boma);
  const ana = await Person.outside(browser, boma);
  const password = `of a test, ${randomUUID()}`;

  const invite = async (name, role) => {
    await owner.open('/people');
    const form = owner.page.getByRole('region', { name: 'Invite somebody' });
    await form.getByLabel('Name').fill(name);
    await form.getByLabel('Role').selectOption(role);
    await form.getByLabel('On', { exact: true }).fill(PROJECT);
    await press(owner.page, 'Invite');
    return (await owner.page.locator('pre code').innerText()).trim();
  };

  await t.test('an invitation is followed, and a password chosen', async () => {
    const link = await invite('ana', 'viewer');
    await ana.page.goto(link);
    assert.deepEqual(await axeFinds(ana.page), []);
    await keepPicture(ana.page, 'invitation');
    await ana.page.getByLabel('Password').fill(password);
    await press(ana.page, 'Sign in');
    await ana.page.getByText('Signed in as ana').waitFor();
    assert.doesNotMatch(await ana.everything(), new RegExp(password));
  });

  await t.test('who only looks is offered nothing else', async () => {
    await ana.open(DATABASE);
    await ana.page.getByRole('heading', { name: 'At a glance' }).waitFor();
    for (const name of ['Back up now', 'Stop', 'New service']) {
      assert.equal(await ana.page.getByText(name, { exact: true }).count(), 0, name);
    }
    assert.deepEqual(await axeFinds(ana.page), []);
    await keepPicture(ana.page, 'database-as-a-viewer');
  });

  await t.test('another role is another page', async () => {
    await owner.open('/people');
    await owner.page.getByLabel('Roles of ana').fill(`developer:${PROJECT}`);
    await owner.page.getByRole('button', { name: 'Change what ana is' }).click();
    await owner.page.getByText('with a password').waitFor();
    await keepPicture(owner.page, 'people');
    await ana.open(DATABASE);
    await press(ana.page, 'Back up now');
  });

  await t.test('out, and in by the password', async () => {
    await press(ana.page, 'Sign out');
    await ana.open('/sign-in');
    await ana.page.getByLabel('Name').fill('ana');
    await ana.page.getByLabel('Password').fill('of somebody else altogether');
    await press(ana.page, 'Sign in');
    await ana.page.getByRole('alert').getByText('Name or password is wrong.').waitFor();
    await ana.page.getByLabel('Name').fill('ana');
    await ana.page.getByLabel('Password').fill(password);
    await press(ana.page, 'Sign in');
    await ana.page.getByText('Signed in as ana').waitFor();
  });

  await t.test('a token is shown once', async () => {
    await owner.open('/people');
    const form = owner.page.getByRole('region', { name: 'Make a token' });
    await form.getByLabel('Name').fill('ci');
    await press(owner.page, 'Make it');
    const token = (await owner.page.locator('pre code').innerText()).trim();
    const list = async () => {
      const authorization = `Bearer ${token}`;
      return fetch(`${boma.origin}/api/v1/databases`, { headers: { authorization } });
    };
    assert.equal((await list()).status, 200);
    await owner.open('/people');
    assert.doesNotMatch(await owner.page.content(), new RegExp(token));
    await owner.page.getByRole('button', { name: 'Remove: ci' }).click();
    await owner.page.getByText('None.').waitFor();
    assert.equal((await list()).status, 401);
  });

  owner.assertQuiet();
});
