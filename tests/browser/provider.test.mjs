// Signing in with an OpenID provider that this test runs.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Person, axeFinds, keepPicture, launch } from './lib/browser.mjs';
import { Installation, PROJECT, application } from './lib/installation.mjs';
import { Provider } from './lib/provider.mjs';

test('provider', async (t) => {
  const provider = await Provider.start(t);
  const configuration = `
[dashboard.oidc]
issuer = "${provider.issuer}"
client-id = "${provider.client.id}"
client-secret = "oidc"
[dashboard.oidc.groups]
shop = ["developer:${PROJECT}"]
dba = ["admin"]
`;
  const boma = await Installation.start(t, { 'web.yaml': application('web') }, undefined, {
    configuration,
    secrets: { oidc: provider.client.secret },
  });
  const browser = await launch(t);

  /** Presses the button of the sign-in page. */
  const signIn = async (person) => {
    await person.open('/sign-in');
    await person.page.getByRole('link', { name: /^Sign in with/ }).click();
    await person.page.waitForLoadState();
  };
  const text = (person) => person.page.locator('main').innerText();

  await t.test('who the provider vouches for is in, as its groups say', async () => {
    provider.who = { sub: '1', preferred_username: 'Ana', groups: ['shop', 'other'] };
    const ana = await Person.outside(browser, boma);
    await ana.open('/sign-in');
    assert.deepEqual(await axeFinds(ana.page), []);
    await keepPicture(ana.page, 'sign-in-with-a-provider');
    await signIn(ana);
    await ana.page.getByText('Signed in as ana').waitFor();
    await ana.open('/people');
    assert.match(await text(ana), new RegExp(`developer:${PROJECT}`));
    assert.equal((await ana.open('/audit')).status(), 403);
    // Other groups at the next sign-in are other roles.
    provider.who = { ...provider.who, groups: ['dba'] };
    await signIn(ana);
    assert.equal((await ana.open('/audit')).status(), 200);
    assert.match(await text(ana), /ana signs in with the provider/);
  });

  await t.test('another key of the provider is learned', async () => {
    provider.turnKey();
    provider.who = { sub: '2', email: 'ben@shop.example', email_verified: true };
    const ben = await Person.outside(browser, boma);
    await signIn(ben);
    await ben.page.getByText('Signed in as ben@shop.example').waitFor();
    await ben.open('/people');
    assert.match(await text(ben), /no role/);
  });

  await t.test('who is refused, or not vouched for, is told and not in', async () => {
    const eve = await Person.outside(browser, boma);
    const isOut = async (words) => {
      assert.match(await text(eve), words);
      assert.equal((await eve.open('/')).status(), 401);
    };
    provider.who = { refused: true };
    await signIn(eve);
    await isOut(/the provider says: access_denied/);
    provider.who = { sub: '3', preferred_username: 'eve' };
    provider.forge = (claims) => ({ ...claims, nonce: 'another' });
    await signIn(eve);
    await isOut(/its nonce is another one/);
    provider.forge = (claims) => ({ ...claims, aud: 'another' });
    await signIn(eve);
    await isOut(/identity token is not accepted/);
    provider.forge = (claims) => claims;
    await eve.open('/sign-in/provider/return?code=x&state=y');
    await isOut(/does not belong to a sign-in of this browser/);
    // A name is taken over by nobody.
    await boma.boma('people', 'invite', 'root', '--role', 'admin');
    provider.who = { sub: '4', preferred_username: 'root' };
    await signIn(eve);
    await isOut(/there is a person `root` already/);
  });
});
