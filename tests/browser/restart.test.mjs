// The server goes away and comes back while pages are open: they go on living.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Person, assertNotReloaded, launch, mark } from './lib/browser.mjs';
import { Installation, PROJECT, application, smallDatabase } from './lib/installation.mjs';

test('pages outlive the server', async (t) => {
  const boma = await Installation.start(t, { 'orders.yaml': smallDatabase('orders'), 'web.yaml': application('web') });
  await boma.becomes('database/orders', 'Ready');
  await boma.becomes('application/web', 'Delivered');
  const person = await Person.signedIn(await launch(t), boma);
  const overview = person.page;
  const database = await person.context.newPage();
  await database.goto(`${boma.origin}/databases/${PROJECT}/orders`);
  await mark(overview);
  await mark(database);

  for (const signal of ['SIGTERM', 'SIGKILL']) {
    const name = (when) => `${when}-${signal.toLowerCase()}`;

    await t.test(`what changed while a server ended by ${signal} was away shows up when it is back`, async () => {
      await boma.stopServing(signal);
      boma.write('meanwhile.yaml', application(name('meanwhile'), 'orders'));
      await boma.serve();
      await overview.getByRole('link', { name: name('meanwhile') }).first().waitFor();
      await database.getByRole('link', { name: name('meanwhile') }).waitFor();
    });

    await t.test(`so does what changes after that (${signal})`, async () => {
      boma.write('afterwards.yaml', application(name('afterwards'), 'orders'));
      await overview.getByRole('link', { name: name('afterwards') }).first().waitFor();
      await database.getByRole('link', { name: name('afterwards') }).waitFor();
      await assertNotReloaded(overview);
      await assertNotReloaded(database);
    });

    await t.test(`the session still holds (${signal})`, async () => {
      const page = await person.context.newPage();
      const answer = await page.goto(boma.origin);
      assert.equal(answer.status(), 200);
      await page.close();
    });
  }
});
