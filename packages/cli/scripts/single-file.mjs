// Makes the command one file that needs no Node and no npm: `single-file/virtkit-linux-x64`, a single executable application of Node.
// `--node FILE` takes another program of the same version of Node, such as that for arm64; `--output FOLDER` another place.
// What it lacks is `serve`: that needs a native module (koffi), which cannot be in it.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { inject } from 'postject';

/** Node looks for its program behind this mark, which postject changes (Node's documentation of single executable applications). */
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';

/** Architectures as Node names them, by `e_machine` of an ELF file. */
const ARCHITECTURES = new Map([
  [0x3e, 'x64'],
  [0xb7, 'arm64'],
]);

const { values } = parseArgs({
  options: {
    node: { type: 'string', default: process.execPath },
    output: { type: 'string', default: fileURLToPath(new URL('../single-file', import.meta.url)) },
  },
});
const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
const program = readFileSync(values.node);
const architecture = architectureOf(program, values.node);
if (!program.includes(FUSE)) throw new Error(`${values.node} takes no program: Node was built without that`);
if (!program.includes(process.version))
  throw new Error(`${values.node} is not of this Node's version, ${process.version}`);

const home = mkdtempSync(join(tmpdir(), 'virtkit-single-'));
try {
  const blob = await blobIn(home);
  mkdirSync(values.output, { recursive: true });
  const file = resolve(values.output, `virtkit-linux-${architecture}`);
  writeFileSync(file, program);
  await inject(file, 'NODE_SEA_BLOB', blob, { sentinelFuse: FUSE });
  chmodSync(file, 0o755);
  console.log(file);
} finally {
  rmSync(home, { recursive: true, force: true });
}

/** @param {Buffer} elf @param {string} name */
function architectureOf(elf, name) {
  const found = elf.readUInt32BE(0) === 0x7f454c46 ? ARCHITECTURES.get(elf.readUInt16LE(18)) : undefined;
  if (found === undefined) throw new Error(`${name} is no program for Linux on x64 or arm64`);
  return found;
}

/** The command and all that it imports, as Node wants it. @param {string} folder */
async function blobIn(folder) {
  const main = join(folder, 'virtkit.cjs');
  await build({
    entryPoints: [fileURLToPath(new URL('../src/main.ts', import.meta.url))],
    outfile: main,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    conditions: ['@virtkit/source'],
    define: { VIRTKIT_VERSION: JSON.stringify(version) },
    plugins: [{ name: 'native modules', setup: withoutNative }],
    logLevel: 'error',
  });
  const output = join(folder, 'virtkit.blob');
  const config = join(folder, 'config.json');
  // compiled code is of one architecture
  const useCodeCache = values.node === process.execPath;
  writeFileSync(config, JSON.stringify({ main, output, useCodeCache, disableExperimentalSEAWarning: true }));
  const { status } = spawnSync(process.execPath, ['--experimental-sea-config', config], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (status !== 0) throw new Error(`node --experimental-sea-config: ${status}`);
  return readFileSync(output);
}

/** Has `serve` find that it is not in the file. @param {import('esbuild').PluginBuild} bundle */
function withoutNative(bundle) {
  const namespace = 'without-native';
  bundle.onResolve({ filter: /^@virtkit\/v(host|fio)-user$/ }, ({ path }) => ({ path, namespace }));
  bundle.onLoad({ filter: /./, namespace }, () => ({
    contents: "throw Object.assign(new Error('a native module'), { code: 'VIRTKIT_SINGLE_FILE' });",
  }));
}
