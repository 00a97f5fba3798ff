// An OpenID provider for one client: discovery, keys, the code flow with PKCE, RS256.
import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { createServer } from 'node:http';

const encoded = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

export class Provider {
  /** Serves until the test has ended. `who` are the claims of whoever signs in next. */
  static async start(test) {
    const provider = new Provider();
    provider.server = createServer((request, response) => provider.answer(request, response));
    await new Promise((resolve) => provider.server.listen(0, '127.0.0.1', resolve));
    test.after(() => provider.server.close());
    provider.issuer = `http://127.0.0.1:${provider.server.address().port}`;
    return provider;
  }

  constructor() {
    this.client = { id: 'boma', secret: randomUUID() };
    this.codes = new Map();
    this.who = {};
    this.forge = (token) => token;
    this.turnKey();
  }

  /** Signs with another key from now on. */
  turnKey() {
    this.key = generateKeyPairSync('rsa', { modulusLength: 2048 });
    this.kid = randomUUID();
  }

  async answer(request, response) {
    const url = new URL(request.url, this.issuer);
    const json = (value, status = 200) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    };
    if (url.pathname === '/.well-known/openid-configuration') {
      return json({
        issuer: this.issuer,
        authorization_endpoint: `${this.issuer}/authorize`,
        token_endpoint: `${this.issuer}/token`,
        jwks_uri: `${this.issuer}/keys`,
      });
    }
    if (url.pathname === '/keys') {
      const key = this.key.publicKey.export({ format: 'jwk' });
      return json({ keys: [{ ...key, kid: this.kid, use: 'sig', alg: 'RS256' }] });
    }
    if (url.pathname === '/authorize') {
      const asked = Object.fromEntries(url.searchParams);
      assert.equal(asked.client_id, this.client.id);
      assert.equal(asked.code_challenge_method, 'S256');
      const back = new URL(asked.redirect_uri);
      back.searchParams.set('state', asked.state);
      if (this.who.refused) {
        back.searchParams.set('error', 'access_denied');
      } else {
        const code = randomUUID();
        this.codes.set(code, asked);
        back.searchParams.set('code', code);
      }
      return response.writeHead(302, { location: back.href }).end();
    }
    const body = [];
    for await (const part of request) body.push(part);
    const sent = new URLSearchParams(Buffer.concat(body).toString());
    const asked = this.codes.get(sent.get('code'));
    this.codes.delete(sent.get('code'));
    const basic = Buffer.from(`${this.client.id}:${this.client.secret}`).toString('base64');
    const challenge = createHash('sha256').update(sent.get('code_verifier') ?? '').digest('base64url');
    const isGood =
      url.pathname === '/token' &&
      request.headers.authorization === `Basic ${basic}` &&
      sent.get('grant_type') === 'authorization_code' &&
      sent.get('redirect_uri') === asked?.redirect_uri &&
      challenge === asked?.code_challenge;
    if (!isGood) return json({ error: 'invalid_grant' }, 400);
    return json({ access_token: randomUUID(), token_type: 'Bearer', id_token: this.token(asked.nonce) });
  }

  token(nonce) {
    const exp = Math.floor(Date.now() / 1000) + 300;
    const claims = this.forge({ iss: this.issuer, aud: this.client.id, exp, nonce, ...this.who });
    const said = `${encoded({ alg: 'RS256', kid: this.kid })}.${encoded(claims)}`;
    return `${said}.${sign('sha256', said, this.key.privateKey).toString('base64url')}`;
  }
}
