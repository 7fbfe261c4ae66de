/**
 * Makes the corpus streams that are not of the first sixty: `tsx src/make-extra.ts [name filter…]`.
 *
 * The cases that fit the QEMU found (see `findQemu`; `VIRTKIT_QEMU_ROOT` chooses another) are run one after another and
 * written to `streams/<version>/`. Cases with a tap device need root. A case that fails is reported and skipped.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { architectures } from './extra/architectures.ts';
import { type Extra, prefix } from './extra/case.ts';
import { containers } from './extra/containers.ts';
import { firmware } from './extra/firmware.ts';
import { load } from './extra/load.ts';
import { oldMachines } from './extra/old-machines.ts';
import { others } from './extra/others.ts';
import { parkedRequests } from './extra/parked-requests.ts';
import { reset } from './extra/reset.ts';
import { tapCases } from './extra/tap.ts';
import { compareVersions, findQemu, type QemuArch, type QemuBinary } from './qemu.ts';

const extras: readonly Extra[] = [
  ...reset,
  ...load,
  ...parkedRequests,
  ...tapCases,
  ...others,
  ...oldMachines,
  ...containers,
  ...architectures,
  ...firmware,
];

const filters = process.argv.slice(2).map((text) => new RegExp(text));

const binaries = new Map<QemuArch, QemuBinary | undefined>();
const root = new URL('../streams/', import.meta.url).pathname;

function compress(stream: Uint8Array): Uint8Array {
  const plain = gzipSync(stream, { level: 9 });
  if (stream.length > 3_000_000) return plain;
  const name = join(process.env['TMPDIR'] ?? '/tmp', `virtkit-${process.pid}.mig`);
  writeFileSync(name, stream);
  const run = spawnSync('zopfli', ['--i5', '-c', name], { maxBuffer: 1 << 27 });
  rmSync(name, { force: true });
  if (run.status !== 0 || run.stdout.length >= plain.length || run.stdout.length === 0) return plain;
  return Buffer.compare(gunzipSync(run.stdout), stream) === 0 ? run.stdout : plain;
}

/** The QEMU for a case; undefined: it is not made with the one that is here. */
function binaryFor({ arch, versions }: Extra): QemuBinary | undefined {
  if (!binaries.has(arch)) binaries.set(arch, findQemu(arch));
  const binary = binaries.get(arch);
  const found = binary?.version.split('.').slice(0, 2).join('.') ?? '';
  return versions.some((version) => compareVersions(found, version) === 0) ? binary : undefined;
}

/** Makes a case and writes its files. Answers what is to be said about it. */
async function make(extra: Extra, binary: QemuBinary): Promise<string> {
  const started = Date.now();
  const { stream, info } = await extra.make(binary);
  const packed = compress(stream);
  const dir = join(root, binary.version);
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, `${info.case}.mig.gz`), packed);
  const json = `${JSON.stringify(info)}\n`;
  writeFileSync(join(dir, `${info.case}.json`), json);
  const queues = info.truth.virtio.reduce((sum, device) => sum + device.queues.length, 0);
  return `${info.case}: ${stream.length} bytes, gz ${packed.length}, json ${json.length}, ${info.truth.virtio.length} devices, ${queues} queues, ${Date.now() - started} ms`;
}

for (const extra of extras) {
  if (filters.length > 0 && !filters.some((filter) => filter.test(extra.name))) continue;
  const binary = binaryFor(extra);
  if (binary === undefined) continue;
  try {
    console.log(await make(extra, binary));
  } catch (error) {
    const reason = error instanceof Error ? error.message.slice(-1200) : String(error);
    console.log(`FAILED ${prefix(binary)}${extra.name}: ${reason}`);
  }
}
process.exit(0);
