// Script in everything that a person writes is text.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Person, launch, press } from './lib/browser.mjs';
import { eventually } from './lib/eventually.mjs';
import { Installation, PROJECT, application, manifest } from './lib/installation.mjs';

/** Something that would show itself, with all that ends texts and attributes. */
const evil = (where) => `'"></textarea></pre><script>ran('${where}')</script><img src=x onerror="ran('${where}')">`;

const quoted = (text) => JSON.stringify(text);

/** File and directory names have no slashes. */
const NAME = `<img src=x onerror=ran('file')>`;

/** Whether the page's document is the dashboard's own: its scripts, and no handler in any element. */
function planted(page) {
  return page.evaluate(() => {
    const elements = [...document.querySelectorAll('*')];
    const scripts = elements.filter((one) => one.localName === 'script' && !/^\/assets\//.test(one.getAttribute('src')));
    const handlers = elements.filter((one) => [...one.attributes].some(({ name }) => name.startsWith('on')));
    return [...scripts, ...handlers].map((one) => one.outerHTML);
  });
}

test('script in everything that a person writes', async (t) => {
  const metadata = `  labels: { team: ${quoted(evil('label'))} }\n  annotations: { note: ${quoted(evil('annotation'))} }\n`;
  const spec = `  source: { command: ["sh", "-c", "exec sleep 86400"] }
  env:
    GREETING: ${quoted(evil('value'))}
  preDeploy: ["sh", "-c", ${quoted(`echo ${quoted(evil('output').replaceAll('"', ''))} >&2; exit 3`)}]
`;
  const boma = await Installation.start(
    t,
    {
      [`${NAME}/${NAME}.yaml`]: manifest('Application', 'web', spec, metadata),
      'other.yaml': application('other'),
    },
    `${NAME} manifests`,
  );
  const browser = await launch(t);
  const person = await Person.signedIn(browser, boma);
  const { page } = person;
  const assertText = async (...texts) => {
    for (const text of texts) assert.ok((await page.locator('body').innerText()).includes(text), `not shown: ${text}`);
    assert.deepEqual(await planted(page), []);
    person.assertQuiet();
  };
  const shown = (path, text) =>
    eventually(`${path} shows ${text}`, async () => {
      await person.open(path);
      return (await page.locator('body').innerText()).includes(text);
    });

  await t.test('the name of the directory', async () => {
    await person.open('/');
    await assertText(`${NAME} manifests`);
  });

  await t.test('values, names of files, labels and annotations of an application', async () => {
    await shown(`/applications/${PROJECT}/web`, evil('value'));
    await assertText(`${NAME}.yaml`);
    const text = await page.getByLabel(/^What .* says$/).inputValue();
    for (const part of ['label', 'annotation', 'value']) assert.ok(text.includes(quoted(evil(part))), part);
  });

  await t.test('what a preDeploy printed, in events and on the page', async () => {
    await shown('/events', "ran('output')");
    await assertText();
    await shown(`/applications/${PROJECT}/web`, "ran('output')");
    await assertText();
    await shown('/', 'Something needs a person.');
    await assertText();
  });

  await t.test('the filter', async () => {
    await person.open(`/?filter=${encodeURIComponent(evil('filter'))}`);
    await assertText();
    assert.equal(await page.getByLabel('Filter').inputValue(), evil('filter').toLowerCase());
  });

  await t.test('the filter, typed', async () => {
    await person.open('/');
    await page.getByLabel('Filter').fill(evil('typed'));
    await page.getByText('Nothing has that in its name').waitFor();
    await assertText();
  });

  await t.test('the project of a link to a new database', async () => {
    await person.open(`/new/database?project=${encodeURIComponent(evil('project'))}`);
    await assertText();
    assert.equal(await page.getByLabel('Project').inputValue(), evil('project'));
  });

  await t.test('fields of the form for a database, in the difference and in what is wrong with them', async () => {
    await person.open('/new/database');
    // What a browser would refuse to send, somebody can send all the same.
    await page.evaluate(() => (document.querySelector('form.form').noValidate = true));
    await page.getByLabel('Name').evaluate((input) => input.removeAttribute('maxlength'));
    await page.getByLabel('Name').fill(evil('name'));
    await page.getByLabel('Project').fill(`a/b/c/${evil('form')}`);
    await press(page, 'See what that would do');
    await assertText(evil('name'));
  });

  await t.test('the text of a manifest', async () => {
    await person.open(`/applications/${PROJECT}/other`);
    await page.getByText('Change the file').click();
    const text = page.getByLabel(/^What .* says$/);
    await text.fill(`# ${evil('comment')}\n${await text.inputValue()}  ${quoted(evil('field'))}: 1\n`);
    await press(page, 'See what that would do');
    await assertText(evil('comment'));
  });

  await t.test('paths', async () => {
    for (const path of ['/databases/', '/applications/', '/assets/', '/']) {
      const answer = await person.open(path + encodeURIComponent(evil('path')));
      assert.equal(answer.status(), 404);
      assert.deepEqual(await planted(page), []);
    }
    // The browser's own word about the status of the answer.
    person.said = person.said.filter((line) => !/^error: Failed to load resource: .* 404/.test(line));
    person.assertQuiet();
  });

  await t.test('script that is really there is noticed, and does not run', async () => {
    await person.open('/');
    await page.evaluate((html) => (document.querySelector('main').innerHTML = html), evil('planted'));
    await eventually('the browser says so', async () => person.said.length > 0);
    assert.match(person.said.join('\n'), /Content Security Policy/);
    assert.doesNotMatch(person.said.join('\n'), /ran is not defined/);
    assert.notDeepEqual(await planted(page), []);
  });
});
