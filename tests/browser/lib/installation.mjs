// An installation of Boma with a directory of manifests, and `boma serve` on it.
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { eventually } from './eventually.mjs';

const run = promisify(execFile);
const boma = needed('BOMA_BINARY');
const scratch = needed('BOMA_BROWSER_SCRATCH');

export const PROJECT = 'acme/retail/production/shop';

function needed(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run tests/browser/run.sh`);
  return value;
}

/** The manifest of a resource of the project that all tests use. */
export function manifest(kind, name, spec, metadata = '') {
  const [organization, unit, environment, project] = PROJECT.split('/');
  return `# Who changes this asks the shop's people first.
apiVersion: lowops.manifests.v1
kind: ${kind}
metadata:
  name: ${name}
  organization: ${organization}
  organizational-unit: ${unit}
  environment: ${environment} # the real one
  project: ${project}
${metadata}spec:
${spec}`;
}

/** A database that is small and has no backups to wait for. */
export function smallDatabase(name, metadata = '') {
  const spec = `  cpuCount: 0.5 # is enough
  memory: 256Mi
  storage: { size: 1Gi }
  backupConfig: { enabled: false }
`;
  return manifest('Database', name, spec, metadata);
}

/** An application that may use databases, and runs elsewhere. */
export function application(name, ...databases) {
  const grants = databases.map((database) => `      - name: ${database}\n`).join('');
  const spec = grants ? `  accessControl:\n    databases:\n${grants}` : '  env: {}\n';
  return manifest('Application', name, spec);
}

export class Installation {
  /** Makes one with some manifests, by file name, and serves them until the test has ended. More of its
   * configuration may be given, and secrets by name. */
  static async start(test, manifests = {}, source, { configuration = '', secrets = {} } = {}) {
    const home = await mkdtemp(join(scratch, 'i'));
    // Servers of root run as another user, who has to get there.
    chmodSync(home, 0o711);
    const here = new Installation();
    here.home = home;
    here.state = join(home, 'state');
    here.manifests = join(home, source ?? 'manifests');
    for (const directory of [here.state, here.manifests]) mkdirSync(directory);
    // Nothing of a test stays behind in the machine's hosts file.
    writeFileSync(join(here.state, 'config.toml'), `hosts-file = ''\n${configuration}`);
    for (const [name, text] of Object.entries(manifests)) here.write(name, text);
    for (const [name, secret] of Object.entries(secrets)) {
      execFileSync(boma, ['secret', 'set', name], { env: here.environment, input: secret });
    }
    test.after(() => here.end());
    await here.serve();
    return here;
  }

  get environment() {
    return { ...process.env, BOMA_STATE_DIR: this.state, RUST_BACKTRACE: '0' };
  }

  write(name, text) {
    const path = join(this.manifests, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }

  read(name) {
    return readFileSync(join(this.manifests, name), 'utf8');
  }

  /** Runs a command to its end and answers with what it printed. */
  async boma(...args) {
    const { stdout } = await run(boma, args, { env: this.environment, maxBuffer: 1 << 26 });
    return stdout;
  }

  /** Whether a command succeeds. */
  async does(...args) {
    return this.boma(...args).then(() => true, () => false);
  }

  /** Starts the server; the same address again when it had one. */
  async serve(source = this.manifests) {
    const address = this.origin ? new URL(this.origin).host : '127.0.0.1:0';
    this.log = '';
    this.server = spawn(boma, ['serve', source, '--dashboard', address], {
      env: this.environment,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.ended = once(this.server, 'exit');
    this.server.stderr.on('data', (text) => (this.log += text));
    this.origin = new URL(await this.link()).origin;
  }

  /** A link that opens the dashboard once. */
  async link() {
    const ended = this.ended.then(() => assert.fail(`boma serve ended: ${this.log}`));
    const link = eventually('boma dashboard prints a link', async () => (await this.boma('dashboard')).trim());
    return Promise.race([ended, link]);
  }

  /** Ends the server, not what it has started. */
  async stopServing(signal = 'SIGTERM') {
    this.server.kill(signal);
    await this.ended;
  }

  /** Ends everything. What is left is searched for passwords and removed by run.sh. */
  async end() {
    await this.stopServing();
    await this.boma('--quiet', 'stop');
  }

  /** Waits until a database or an application is as it should be. */
  becomes(name, phase) {
    const line = new RegExp(`^ *Phase +${phase}$`, 'm');
    return eventually(`${name} is ${phase}`, async () => line.test(await this.boma('describe', name)));
  }

  /** A statement as the superuser; rows as psql prints them. */
  async sql(database, statement) {
    return (await this.boma('psql', database, '--', '-XAtqc', statement)).trim();
  }

  /** What an application finds in its environment, secrets too. */
  async env(application) {
    return JSON.parse(await this.boma('env', application, '--reveal', '-o', 'json'));
  }
}
