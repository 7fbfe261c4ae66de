/** Hostile inputs of any size for each entry point that reads them, and the call that does. */
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkInventory, checkStream, describedTarget, explain, parseTarget } from '@virtkit/compat';
import { overlayDisk } from '@virtkit/device-blk/overlay';
import { describeDomain, describeQm, describeVmi } from '@virtkit/libvirt';
import { parseStream, parseVmdesc, readStream } from '@virtkit/migration';
import {
  type ByteDuplex,
  type Clock,
  comparedRam,
  type LiveMachine,
  receiveLive,
  sendLive,
} from '@virtkit/migration/live';
import { snapshotStream } from '../../cli/src/qcow2.ts';
import { registry } from '../../cli/src/registry.ts';
import { FrameReader } from '../../device-net/src/node/reader.ts';
import { SmallMachine, SmallWorld } from '../../migration/test/live/small.ts';
import { footer, full, header, join as joined, preamble, ram } from '../../migration/test/made.ts';

export interface Budget {
  readonly name: string;
  /** An input of about so many bytes. */
  readonly make: (bytes: number) => Uint8Array;
  readonly run: (input: Uint8Array) => Promise<void> | void;
  /** Bytes for which the time is measured, and eight times that. */
  readonly size: number;
  /** Bytes that must do in the heap of a child process; default sixteen million. */
  readonly most?: number;
}

function repeat(bytes: Uint8Array | string, length: number): Uint8Array {
  const piece = Buffer.from(bytes);
  return new Uint8Array(Buffer.alloc(Math.max(piece.length, length - (length % piece.length)), piece));
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
const parse = (input: Uint8Array): void => void parseStream(input);
/** Time stands still: no time-out decides anything. */
const CLOCK: Clock = { now: () => 0, after: () => () => {} };

/** Says these bytes, 4 KiB at a time, and closes. */
function peer(input: Uint8Array): ByteDuplex {
  let at = 0;
  return {
    read: async () => {
      const chunk = input.slice(at, at + 4096);
      at += 4096;
      return chunk.length === 0 ? undefined : chunk;
    },
    write: async () => {},
    close: () => {},
  };
}

/** A machine that takes anything as the state of its one device. */
function machine(): LiveMachine {
  const bytes = new Uint8Array(0x1000);
  return {
    name: 'pc-q35-7.2',
    ram: comparedRam([{ name: 'pc.ram', length: bytes.length, bytes: () => bytes }]),
    sections: [
      { idstr: 'x', versionId: 1, save: () => new Uint8Array(4), load: () => () => {}, accepts: () => true },
    ],
    pause: () => {},
    resume: () => {},
  };
}

const CLUSTER = 512;

/** An image with as many snapshots as fit: each is a header of 40 bytes and a name. */
function image(bytes: number): Uint8Array {
  const all = new Uint8Array(CLUSTER + bytes + 8 * CLUSTER);
  const view = new DataView(all.buffer);
  const count = Math.min(65_536, Math.floor(bytes / 48));
  all.set(Buffer.from('QFI\xfb', 'latin1'));
  view.setUint32(4, 3);
  view.setUint32(20, 9);
  view.setUint32(60, count);
  view.setBigUint64(64, BigInt(CLUSTER));
  view.setUint32(100, 104);
  for (let n = 0; n < count; n++) {
    const at = CLUSTER + 48 * n;
    view.setBigUint64(at, BigInt(CLUSTER));
    view.setUint16(at + 12, 1);
    view.setUint16(at + 14, 7);
    view.setUint32(at + 32, 1);
  }
  return all;
}

async function readImage(bytes: Uint8Array): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'virtkit-budget-'));
  const path = join(folder, 'image');
  writeFileSync(path, bytes);
  const file = openSync(path, 'r');
  try {
    for (const chunk of snapshotStream(file, 'nobody')) if (chunk.length < 0) break;
  } finally {
    closeSync(file);
    rmSync(folder, { recursive: true });
  }
}

const OVERLAY = { clusterSize: 512 };

/** Clusters of zeros, five bytes each; the checksum is wrong, and is looked at last. */
function overlayFile(bytes: number): Uint8Array {
  const count = Math.floor(bytes / 5);
  const all = new Uint8Array(28 + 5 * count + 4);
  const view = new DataView(all.buffer);
  all.set(Buffer.from('VKOVRLAY'));
  view.setUint32(8, 1, true);
  view.setUint32(12, 512, true);
  view.setBigUint64(16, BigInt(512 * count), true);
  view.setUint32(24, count, true);
  for (let n = 0; n < count; n++) {
    view.setUint32(28 + 5 * n, n, true);
    all[28 + 5 * n + 4] = 1;
  }
  return all;
}

/** A disk of so many clusters that holds nothing. */
function loadOverlay(bytes: Uint8Array): Promise<void> {
  const size = 512 * Math.floor((bytes.length - 32) / 5);
  return overlayDisk({ size, read: () => {}, write: () => {} }, OVERLAY).load(bytes);
}

/** A domain with something many times: a number of its own stands in each, where `#` is. */
function domain(piece: string, bytes: number, of = (pieces: string): string => pieces): Uint8Array {
  return Buffer.from(
    `<domain type='kvm'><memory>1048576</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices>${of(numbered(piece, bytes))}</devices></domain>`,
  );
}

function numbered(piece: string, bytes: number): string {
  const count = Math.ceil(bytes / piece.length);
  return Array.from({ length: count }, (_, index) => piece.replaceAll('#', String(index))).join('');
}

/** All that `check --domain` does with the text. */
const describe = (input: Uint8Array): void =>
  void checkInventory(describedTarget('qemu-7.2', describeDomain(text(input))), registry, {});

const DISK =
  "<disk type='file' device='disk'><source file='/d/#'/><target dev='vd#' bus='virtio'/><alias name='virtio-disk#'/></disk>";
const CARD =
  "<interface type='bridge'><model type='virtio'/><alias name='net0'/><address type='pci' bus='0' slot='3' function='0'/></interface>";
const INSTANCE = 'kind: VirtualMachineInstance\nspec:\n  domain:\n    devices:\n';

const MESSAGE =
  'qemu-system-x86_64: VQ 1 size 0x100 Guest index 0x5 inconsistent with Host index 0x10: delta 0xfff5\n';

export const BUDGETS: readonly Budget[] = [
  {
    name: 'a stream of sections',
    make: (bytes) => joined(preamble(), ram(), repeat(full(9, 'x', new Uint8Array(1)), bytes)),
    run: parse,
    size: 200_000,
  },
  {
    name: 'a stream of footers',
    make: (bytes) => joined(preamble(), ram(), header(9, 'x'), repeat(footer(9), bytes)),
    run: parse,
    size: 500_000,
  },
  {
    name: 'a stream of braces, in small chunks',
    make: (bytes) => joined(preamble(), ram(), header(9, 'x'), repeat('}', bytes)),
    run: async (input) => {
      const chunks = function* chunks() {
        for (let at = 0; at < input.length; at += 1000) yield input.subarray(at, at + 1000);
      };
      await readStream(chunks());
    },
    size: 500_000,
  },
  {
    name: 'a stream of PINGs',
    make: (bytes) => joined(preamble(), repeat(Uint8Array.of(8, 0, 2, 0, 4, 0, 0, 0, 7), bytes)),
    run: parse,
    // as many as are kept
    size: 60_000,
  },
  {
    name: 'a vmdesc of empty objects',
    make: (bytes) => Buffer.from(`{"devices":[{"fields":[${text(repeat('{},', bytes))}{}]}]}`),
    run: (input) => void parseVmdesc(input),
    size: 400_000,
  },
  {
    name: 'a vmdesc of fields',
    make: (bytes) =>
      Buffer.from(
        `{"devices":[{"fields":[${text(repeat('{"name":"x","type":"u8","size":1},', bytes))}{}]}]}`,
      ),
    run: (input) => void parseVmdesc(input),
    size: 400_000,
  },
  {
    name: 'a log',
    make: (bytes) => repeat(MESSAGE, bytes),
    run: (input) => void explain(text(input)),
    size: 200_000,
    most: 1 << 20,
  },
  {
    name: 'a command line of devices',
    make: (bytes) =>
      Buffer.from(`qemu-system-x86_64 ${text(repeat('-device virtio-blk-pci,drive=d ', bytes))}`),
    run: (input) => void parseTarget('qemu-7.2', { commandLine: text(input) }),
    size: 20_000,
    most: 1 << 20,
  },
  {
    name: 'a domain of disks',
    make: (bytes) => domain(DISK, bytes),
    run: describe,
    size: 30_000,
  },
  {
    name: 'a domain of cards in one place',
    make: (bytes) => domain(CARD, bytes),
    run: describe,
    size: 30_000,
  },
  {
    name: 'a domain of attributes',
    make: (bytes) => domain("a#='&amp;' ", bytes, (pieces) => `<disk ${pieces}/>`),
    run: describe,
    size: 150_000,
  },
  {
    name: 'a domain of comments, and of elements that nobody knows',
    make: (bytes) => domain('<!-- > --><u#>&lt;</u#>', bytes, (pieces) => `<disk>${pieces}</disk>`),
    run: describe,
    size: 100_000,
  },
  {
    name: 'a VirtualMachineInstance in YAML',
    make: (bytes) =>
      Buffer.from(
        `${INSTANCE}      disks:\n${numbered('      - name: d#\n        disk: {bus: virtio}\n', bytes)}`,
      ),
    run: (input) => void describeVmi(text(input)),
    size: 14_000,
    most: 128_000,
  },
  {
    name: 'a VirtualMachineInstance of lines that are wrapped',
    make: (bytes) => Buffer.from(`kind: VirtualMachineInstance\nspec: "${numbered('x\\\n  \n ', bytes)}"`),
    run: (input) => void describeVmi(text(input)),
    size: 14_000,
    most: 128_000,
  },
  {
    name: 'a VirtualMachineInstance in JSON',
    make: (bytes) =>
      Buffer.from(
        `{"kind":"VirtualMachineInstance","spec":{"domain":{"devices":{"disks":[${numbered('{"name":"d#","disk":{"bus":"virtio"}},', bytes)}{}]}}}}`,
      ),
    run: (input) => void describeVmi(text(input)),
    size: 100_000,
    most: 1_000_000,
  },
  {
    name: 'a configuration of Proxmox',
    make: (bytes) =>
      Buffer.from(`memory: 2048\n${numbered('scsi#: local:vm-1-disk-#,iothread=1,size=1G\n', bytes)}`),
    run: (input) => void describeQm(text(input)),
    size: 60_000,
    most: 1_000_000,
  },
  {
    name: 'a configuration of Proxmox of commas',
    make: (bytes) => Buffer.from(`memory: 2048\nmachine: ${numbered('a#=,', bytes)}`),
    run: (input) => void describeQm(text(input)),
    size: 100_000,
    most: 1_000_000,
  },
  {
    name: 'check of a stream of devices',
    make: (bytes) =>
      joined(
        preamble(),
        ram(),
        repeat(full(9, '0000:00:02.0/virtio-blk', new Uint8Array(4)), bytes),
        Uint8Array.of(0),
      ),
    run: (input) =>
      void checkStream(parseStream(input), parseTarget('qemu-7.2'), { transports: [], devices: [] }),
    size: 100_000,
    most: 1 << 22,
  },
  { name: 'a qcow2 image of snapshots', make: image, run: readImage, size: 96_000, most: 48 * 65_536 },
  { name: 'an overlay file of zeros', make: overlayFile, run: loadOverlay, size: 100_000, most: 2_000_000 },
  {
    name: 'frames of a peer',
    make: (bytes) => repeat(Uint8Array.of(0, 0, 0, 14, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14), bytes),
    run: (input) => new FrameReader({ max: 2048, frame: () => true }).push(Buffer.from(input)),
    size: 400_000,
  },
  {
    name: 'a machine that arrives',
    make: (bytes) => joined(preamble(), ram(), header(9, 'x'), repeat(footer(9), bytes)),
    run: async (input) => {
      const { result } = await receiveLive(peer(input), machine(), { clock: CLOCK });
      if (result === 'arrived') throw new Error('a machine of footers has arrived');
    },
    size: 400_000,
  },
  {
    name: 'answers of a destination',
    make: (bytes) => repeat(Uint8Array.of(0, 2, 0, 4, 0, 0, 0, 1), bytes),
    run: async (input) => {
      const source = new SmallMachine(new SmallWorld());
      source.boot();
      await sendLive(peer(input), source, { clock: CLOCK });
    },
    size: 400_000,
  },
];

/** Whatever is said of it: a refusal that the packages document is an answer. */
export async function taken({ run }: Budget, input: Uint8Array): Promise<void> {
  try {
    await run(input);
  } catch (error) {
    if (!(error instanceof Error) || !/^(StateError|HostError|UsageError)$/.test(error.name)) throw error;
  }
}
