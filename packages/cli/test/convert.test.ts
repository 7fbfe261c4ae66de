import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { isModern, negotiated, type VirtioState } from '@virtkit/core';
import { findQemus, type LoadResult, type QemuBinary, type QemuOptions, withQemu } from '@virtkit/lab';
import { acceptVirtio, decodeVirtio, findVirtio, parseStream, StreamParser } from '@virtkit/migration';
import { StreamRewriter } from '@virtkit/migration/rewrite';
import { describe, expect, test } from 'vitest';
import { registry } from '../src/registry.ts';
import { useCommand } from './command.ts';

const corpus = new URL('../../lab/streams/', import.meta.url);
const MIB = 2 ** 20;
const TIMEOUT_MS = 120_000;

const binaries = findQemus('x86_64');

interface Case {
  /** A stream of the corpus that the target refuses. */
  readonly name: string;
  readonly target: string;
  /** What QEMU says to the stream as it is. */
  readonly refusal: RegExp;
}

const RING = /exceeds allocated max/;
const CASES: readonly Case[] = [
  { name: 'q72-pc-packedoffered-inflight', target: '7.2', refusal: /unexpected memory split/ },
  { name: 'q72-pc-packedoffered-inflight', target: '10.0', refusal: /unexpected memory split/ },
  { name: 'q72-pc-packedoffered-inflight', target: '11.1', refusal: /unexpected memory split/ },
  { name: 'q111-q35-packed-inflight', target: '11.1', refusal: /unexpected memory split/ },
  { name: 'q100-q35-reset', target: '11.1', refusal: RING },
  { name: 'q100-pc-live', target: '11.1', refusal: RING },
  { name: 'q100-pc-live-xbzrle', target: '11.1', refusal: RING },
  { name: 'q100-pc-fullram-tiny', target: '11.1', refusal: RING },
  { name: 'q100-pc-novmdesc', target: '11.1', refusal: RING },
  { name: 'q100-pc-returnpath', target: '11.1', refusal: RING },
  { name: 'q100-q35-others-reset', target: '11.1', refusal: /VQ 0 vring.num 1024 exceeds allocated max 256/ },
  { name: 'q111-pc-port-throttled-packed', target: '11.1', refusal: /error trying to map MMIO memory/ },
];

/** Options that make the guest, as they are; the lab has the others. */
const TAKEN = /^-(device|netdev|drive|blockdev|chardev|fsdev|object|global|cpu|smp|bios)$/;
/** The lab's own: RAM and console. */
const OWN = /\bid=(ram|con)\b/;

/** The destination with the command line of the source; what its RAM file must have for the rings is put there. */
function destinationOf(
  name: string,
  stream: Uint8Array,
  binary: QemuBinary,
): { options: QemuOptions; capabilities: string[] } {
  const version = readdirSync(corpus).find((each) => existsSync(new URL(`${each}/${name}.json`, corpus)));
  const info = JSON.parse(readFileSync(new URL(`${version}/${name}.json`, corpus), 'utf8')) as {
    readonly command_line: readonly string[];
    readonly machine: string;
    readonly x_ignore_shared: boolean;
  };
  const words = info.command_line;
  const args = words.flatMap((word, at) => {
    const value = words[at + 1] ?? '';
    return TAKEN.test(word) && !OWN.test(value) ? [word, value] : [];
  });
  const memoryMiB = Number.parseInt(words[words.indexOf('-m') + 1] ?? '128', 10);
  const images = new Set(args.join(' ').match(/[\w.-]+\.img/g) ?? []);
  // firmware comes with the stream; a file of its size must be there
  const roms = new Set(args.join(' ').match(/(?<=^|\s)tiny\.rom/g) ?? []);
  const files: Record<string, Uint8Array | number> = {};
  for (const image of images) files[image] = 64 * MIB;
  for (const rom of roms) files[rom] = firmwareSize(stream);
  if (info.x_ignore_shared) files['ram.img'] = ramFor(stream, memoryMiB);
  return {
    options: {
      arch: 'x86_64',
      binary,
      machine: info.machine,
      memoryMiB,
      sharedMemory: info.x_ignore_shared,
      args,
      files,
      incoming: true,
      paused: true,
    },
    capabilities: [...(parseStream(stream).configuration?.capabilities ?? [])],
  };
}

function firmwareSize(stream: Uint8Array): number {
  return parseStream(stream).ram?.blocks.find(({ name }) => name === 'pc.bios')?.length ?? 65536;
}

/** RAM that fits the indices in the state: every chain that was taken is given back, or is among the saved requests. */
function ramFor(stream: Uint8Array, memoryMiB: number): Uint8Array {
  const ram = new Uint8Array(memoryMiB * MIB);
  const view = new DataView(ram.buffer);
  for (const section of parseStream(stream).sections) {
    const device = findVirtio(section, registry);
    if (device === undefined) continue;
    const { state } = decodeVirtio(device);
    const saved = (
      state as VirtioState<never, { readonly requests?: readonly { readonly queue?: number }[] }>
    ).device;
    state.queues.forEach(({ num, desc, align = 4096, lastAvailIdx }, index) => {
      if (desc === 0n) return;
      const modern = isModern(negotiated(state));
      const rings = state.subsections.virtqueues?.[index];
      const avail = modern ? Number(rings?.avail ?? 0n) : Number(desc) + 16 * num;
      const end = avail + 4 + 2 * num + align - 1;
      const used = modern ? Number(rings?.used ?? 0n) : end - (end % align);
      const parked = (saved.requests ?? []).filter(({ queue = 0 }) => queue === index).length;
      view.setUint16(avail + 2, lastAvailIdx, true);
      view.setUint16(used + 2, (lastAvailIdx - parked) & 0xffff, true);
    });
  }
  return ram;
}

/** Its section wants an option ROM in RAM, which is not in streams without RAM. */
function withoutTpr(stream: Uint8Array): Uint8Array {
  const chunks: Uint8Array[] = [];
  const rewriter = new StreamRewriter((bytes, start, end) => chunks.push(bytes.slice(start, end)), {
    keep: ({ idstr }) => idstr !== 'kvm-tpr-opt',
  });
  const parser = new StreamParser(rewriter, { accepts: acceptVirtio(registry) });
  parser.push(stream);
  parser.end();
  return Buffer.concat(chunks);
}

const command = useCommand();

async function load(
  name: string,
  stream: Uint8Array,
  original: Uint8Array,
  binary: QemuBinary,
): Promise<LoadResult> {
  const { options, capabilities } = destinationOf(name, original, binary);
  return withQemu(options, (vm) => vm.load(stream, { capabilities }));
}

describe('what convert writes loads where the original is refused', () => {
  for (const { name, target, refusal } of CASES) {
    test(`${name} into QEMU ${target}`, { timeout: TIMEOUT_MS }, async (context) => {
      const binary = binaries.get(target);
      if (binary === undefined) {
        console.warn(`SKIPPED: no QEMU ${target}: VIRTKIT_QEMU_ROOTS names directories with others`);
        return context.skip();
      }
      const version = readdirSync(corpus).find((each) => existsSync(new URL(`${each}/${name}.json`, corpus)));
      const original = withoutTpr(gunzipSync(readFileSync(new URL(`${version}/${name}.mig.gz`, corpus))));
      const refused = await load(name, original, original, binary);
      expect(refused).toMatchObject({ ok: false, error: expect.stringMatching(refusal) });
      const [from, to] = [join(command.home(), 'original.mig'), join(command.home(), 'converted.mig')];
      writeFileSync(from, original);
      expect(
        command.virtkit(['check', from, '--target', `qemu-${target},capabilities=x-ignore-shared`]).status,
      ).toBe(1);
      const run = command.virtkit([
        'convert',
        from,
        to,
        '--to',
        `qemu-${target},capabilities=x-ignore-shared`,
      ]);
      expect(run.status, run.stderr).toBe(0);
      expect(
        command.virtkit(['check', to, '--target', `qemu-${target},capabilities=x-ignore-shared`]).status,
      ).toBe(0);
      expect(await load(name, readFileSync(to), original, binary)).toEqual({ ok: true });
    });
  }
});

/** A 5.2 machine of QEMU 11.1 whose driver has set up receive-side scaling, as far as the state goes. */
async function savedWithRss(binary: QemuBinary): Promise<{ options: QemuOptions; stream: Uint8Array }> {
  const args = ['-netdev', 'user,id=n0,restrict=on', '-device', 'virtio-net-pci,netdev=n0,rss=on,romfile='];
  const options = {
    arch: 'x86_64',
    machine: 'pc-q35-5.2',
    memoryMiB: 64,
    sharedMemory: false,
    args,
    paused: true,
  } as const;
  const plain = await withQemu({ ...options, binary }, (vm) => vm.migrate());
  const chunks: Uint8Array[] = [];
  const rss = {
    version: 2,
    enabled: true,
    redirect: true,
    populateHash: false,
    hashTypes: 0x3f,
    supportedHashTypes: 0x1ff,
    indirectionsLen: 2,
    defaultQueue: 0,
    key: new Uint8Array(40).fill(7),
    indirectionsTable: [0, 0],
  };
  const bodies = new Map<string, Uint8Array>();
  for (const section of parseStream(plain).sections) {
    const device = findVirtio(section, registry);
    if (device === undefined) continue;
    const { state } = decodeVirtio(device);
    bodies.set(
      section.header.idstr,
      device.codec.encode({ ...state, device: { ...(state.device as object), rss } }),
    );
  }
  const rewriter = new StreamRewriter((bytes, start, end) => chunks.push(bytes.slice(start, end)), {
    body: ({ idstr }) => bodies.get(idstr),
  });
  const parser = new StreamParser(rewriter, { accepts: acceptVirtio(registry) });
  parser.push(plain);
  parser.end();
  return { options: { ...options, incoming: true }, stream: Buffer.concat(chunks) };
}

test.for(['10.0', '7.2', '5.2'])(
  'receive-side scaling of 11.1 into %s',
  { timeout: TIMEOUT_MS },
  async (target, context) => {
    const [newer, older] = [binaries.get('11.1'), binaries.get(target)];
    if (newer === undefined || older === undefined) {
      console.warn(`SKIPPED: no QEMU 11.1 and ${target}`);
      return context.skip();
    }
    const { options, stream } = await savedWithRss(newer);
    const into = (binary: QemuBinary, bytes: Uint8Array): Promise<LoadResult> =>
      withQemu({ ...options, binary }, (vm) => vm.load(bytes));
    expect(await into(newer, stream)).toEqual({ ok: true });
    expect(await into(older, stream)).toMatchObject({ ok: false, error: expect.stringMatching(/rss/) });
    const [from, to] = [join(command.home(), 'rss.mig'), join(command.home(), 'rss-converted.mig')];
    writeFileSync(from, stream);
    const run = command.virtkit(['convert', from, to, '--to', `qemu-${target},capabilities=x-ignore-shared`]);
    expect(run.status, run.stdout + run.stderr).toBe(0);
    expect(await into(older, readFileSync(to))).toEqual({ ok: true });
  },
);
