// Another site, another person, another name: none of them gets in.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import test from 'node:test';
import { Person, launch } from './lib/browser.mjs';
import { eventually } from './lib/eventually.mjs';
import { Installation, PROJECT, application } from './lib/installation.mjs';

const WEB = `/applications/${PROJECT}/web`;
const NAME = 'secret-project-of-web';
const PATHS = ['/', WEB, '/new', '/new/database', '/plan', '/events', '/audit', '/stream', '/nowhere'];

/** A site of somebody else on this machine. To a browser it is the same site, of another origin. */
async function elsewhere(test) {
  const server = createServer((_request, answer) => {
    answer.setHeader('content-type', 'text/html');
    answer.end('<!doctype html><title>elsewhere</title><body>');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  test.after(() => server.close());
  return `http://127.0.0.1:${server.address().port}`;
}

/** The token in the forms of a page: what no other site can know. */
const token = (page) => page.locator('input[name=form]').first().inputValue();

/** Sends a form from the page that is open, as a page that somebody was lured to does. */
async function send(page, action, fields) {
  const [answer] = await Promise.all([
    page.waitForResponse((response) => response.url() === action && response.request().isNavigationRequest()),
    page.waitForEvent('framenavigated'),
    page.evaluate(
      ([action, fields]) => {
        const form = document.createElement('form');
        form.method = 'post';
        form.action = action;
        for (const [name, value] of Object.entries(fields)) {
          const input = document.createElement('textarea');
          Object.assign(input, { name, value });
          form.append(input);
        }
        document.body.append(form);
        form.submit();
      },
      [action, fields],
    ),
  ]);
  await page.waitForLoadState();
  return answer;
}

test('another site', async (t) => {
  const boma = await Installation.start(t, { 'web.yaml': application(NAME), 'x.yaml': application('web') });
  const browser = await launch(t);
  const site = await elsewhere(t);
  const ada = await Person.signedIn(browser, boma);
  const { page } = ada;
  await eventually('the overview names the application', async () => {
    await ada.open('/');
    return (await page.content()).includes(NAME);
  });
  const form = await token(page);
  const planted = { file: 'planted.yaml', former: '', text: application('planted'), back: '/' };
  const audit = () => boma.boma('audit');

  await t.test('cannot send a form, not even with the token of one', async () => {
    const before = await audit();
    for (const fields of [planted, { ...planted, form: 'guessed' }, { ...planted, form }]) {
      await page.goto(site);
      const answer = await send(page, `${boma.origin}/changes`, fields);
      assert.equal(answer.status(), 403);
      await page.getByRole('heading', { name: 'Not sent by this dashboard' }).waitFor();
    }
    assert.throws(() => boma.read('planted.yaml'), { code: 'ENOENT' });
    for (const path of ['/hold', '/rotate', '/reveal', '/back-up', '/sign-out', '/attach', '/edit', '/restore']) {
      await page.goto(site);
      const answer = await send(page, boma.origin + path, { form, application: `${PROJECT}/web`, held: 'yes' });
      assert.equal(answer.status(), 403, path);
    }
    assert.equal(await audit(), before);
  });

  await t.test('the same form is taken from a page of the dashboard, with its token only', async () => {
    await ada.open('/');
    assert.equal((await send(page, `${boma.origin}/changes`, planted)).status(), 403);
    await ada.open('/');
    assert.equal((await send(page, `${boma.origin}/changes`, { ...planted, form })).status(), 303);
    assert.equal(boma.read('planted.yaml'), planted.text);
  });

  await t.test('cannot read anything', async () => {
    await page.goto(site);
    for (const path of ['/', WEB, '/stream', '/healthz']) {
      const outcomes = await page.evaluate(async (url) => {
        const read = async (options) => fetch(url, options).then((answer) => answer.text());
        const tries = [{}, { credentials: 'include' }, { credentials: 'include', mode: 'no-cors' }];
        const got = await Promise.all(tries.map((options) => read(options).catch(() => 'refused')));
        const stream = await new Promise((resolve) => {
          const source = new EventSource(url, { withCredentials: true });
          source.onopen = () => resolve('open');
          source.onerror = () => resolve('refused');
        });
        return [...got, stream];
      }, boma.origin + path);
      assert.deepEqual(outcomes, ['refused', 'refused', 'refused', 'refused'], path);
    }
  });

  await t.test('cannot have the dashboard in a frame', async () => {
    await page.goto(site);
    await page.evaluate((url) => {
      const frame = document.createElement('iframe');
      frame.src = url;
      document.body.append(frame);
    }, boma.origin);
    await eventually('the browser refuses it', async () => /frame|refused to connect/i.test(ada.said.join('\n')));
    const frames = page.frames().filter((frame) => frame !== page.mainFrame());
    for (const frame of frames) assert.ok(!(await frame.content()).includes(NAME));
  });

  await t.test('cannot look into a window of the dashboard that it has opened', async () => {
    await page.goto(site);
    const [popup] = await Promise.all([
      ada.context.waitForEvent('page'),
      page.evaluate((url) => void (window.opened = window.open(url)), boma.origin),
    ]);
    await popup.getByRole('heading', { name: 'Overview' }).waitFor();
    const seen = await page.evaluate(() => {
      try {
        return window.opened.document.body.innerText;
      } catch {
        return 'refused';
      }
    });
    assert.ok(!seen.includes(NAME), seen);
    assert.equal(await popup.evaluate(() => window.opener), null);
    await popup.close();
  });

  await t.test('cannot have another name lead to the dashboard', async () => {
    const port = new URL(boma.origin).port;
    const answer = await page.goto(`http://rebound.localhost:${port}/`);
    assert.equal(answer.status(), 421);
    await page.getByRole('heading', { name: 'Another address' }).waitFor();
  });
});

test('links and sessions', async (t) => {
  const boma = await Installation.start(t, { 'web.yaml': application(NAME) });
  const browser = await launch(t);

  await t.test('a link works once', async () => {
    const link = await boma.link();
    const ada = await Person.outside(browser, boma);
    await ada.page.goto(link);
    await ada.page.getByRole('heading', { name: 'Overview' }).waitFor();
    const eve = await Person.outside(browser, boma);
    assert.equal((await eve.page.goto(link)).status(), 401);
    await eve.page.getByRole('heading', { name: 'Sign in' }).waitFor();
    assert.deepEqual(await eve.context.cookies(), []);
  });

  await t.test('a link that was changed does not work', async () => {
    const link = await boma.link();
    const eve = await Person.outside(browser, boma);
    const other = link.replace(/.{4}$/, (end) => (end === 'AAAA' ? 'BBBB' : 'AAAA'));
    assert.equal((await eve.page.goto(other)).status(), 401);
    // Without a link it asks for name and password, and shows nothing else.
    assert.equal((await eve.page.goto(`${boma.origin}/sign-in`)).status(), 200);
    assert.deepEqual(await eve.context.cookies(), []);
  });

  await t.test('a browser that is not signed in sees no data', async () => {
    const eve = await Person.outside(browser, boma);
    for (const path of PATHS) {
      const answer = await eve.open(path);
      assert.equal(answer.status(), 401, path);
      assert.ok(!(await answer.text()).includes(NAME), path);
    }
    const answer = await send(eve.page, `${boma.origin}/changes`, { file: 'x.yaml', text: application('x') });
    assert.equal(answer.status(), 401);
    assert.throws(() => boma.read('x.yaml'), { code: 'ENOENT' });
  });

  await t.test('scripts do not see the cookie, and other sites do not send it', async () => {
    const ada = await Person.signedIn(browser, boma);
    assert.equal(await ada.page.evaluate(() => document.cookie), '');
    const [cookie] = await ada.context.cookies();
    assert.equal(cookie.httpOnly, true);
    assert.equal(cookie.sameSite, 'Lax');
  });

  await t.test('a session that was ended is none any more, whoever has its cookie', async () => {
    const ada = await Person.signedIn(browser, boma);
    const eve = await Person.outside(browser, boma, { storageState: await ada.context.storageState() });
    assert.equal((await eve.open('/')).status(), 200);
    await ada.page.getByRole('button', { name: 'Sign out' }).click();
    await ada.page.getByRole('heading', { name: 'Signed out' }).waitFor();
    assert.equal((await eve.open('/')).status(), 401);
    assert.equal((await ada.open('/')).status(), 401);
  });
});
