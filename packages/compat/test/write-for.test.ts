import { codecOf, type LiveDevice, MappedMemory, type VirtioState, virtioDevice } from '@virtkit/core';
import { connect } from '@virtkit/core/qemu';
import { BlkDevice, blk, memoryDisk } from '@virtkit/device-blk';
import { blkType } from '@virtkit/device-blk/type';
import { NET_FEATURE, NetDevice, type NetState, net } from '@virtkit/device-net';
import { netType } from '@virtkit/device-net/type';
import { findQemus, type LoadResult, type QemuBinary, type QemuOptions, withQemu } from '@virtkit/lab';
import {
  acceptVirtio,
  decodeVirtio,
  findVirtio,
  parseStream,
  StreamParser,
  type VirtioDevice,
} from '@virtkit/migration';
import { StreamRewriter } from '@virtkit/migration/rewrite';
import { PciFunction, pci } from '@virtkit/transport-pci';
import { freshDevice, type Surroundings } from '@virtkit/visit';
import { StateError } from '@virtkit/vmstate';
import { describe, expect, test } from 'vitest';
import { saveFor, stateFor } from '../src/index.ts';

const TIMEOUT_MS = 120_000;
const registry = { transports: [pci], devices: [net, blk] };
const memory = new MappedMemory([{ gpa: 0, bytes: new Uint8Array(1 << 20) }]);
const network = { send: () => true };

/** A card as QEMU 10.2 makes it: with UDP tunnels, whose features are above bit 63. */
function card(): LiveDevice {
  return cardFunction().device as unknown as LiveDevice;
}

/** The driver takes these features of its PCI function, by words of 32 bits. */
function negotiate(fn: PciFunction<NetState>, words: readonly number[]): void {
  words.forEach((bits, word) => {
    fn.barWrite(4, 8, 4, word);
    fn.barWrite(4, 12, 4, bits);
  });
}

function cardFunction(): PciFunction<NetState> {
  const model = new NetDevice({
    backend: network,
    mac: '52:54:00:12:34:56',
    offloads: { csum: true, tso: true, udpTunnel: true },
    rss: true,
  });
  return new PciFunction(model, { memory, sendMsi: () => {}, setIntx: () => {} });
}

const text = (body: Uint8Array): string => Buffer.from(body).toString('latin1');

describe('a live device is written for a QEMU version', () => {
  test('features above bit 63: the subsection is left out where it is not known', () => {
    for (const target of ['qemu-7.2', 'qemu-10.0.13']) {
      const body = saveFor(card(), { target });
      expect(text(body)).not.toContain('128');
      expect(virtioDevice(pci, net).decode(body).subsections.features64).toBe(0n);
    }
    for (const target of ['qemu-10.2', 'qemu-11.1'])
      expect(text(saveFor(card(), { target }))).toContain('virtio/128bit_features');
  });

  test('features above bit 63 that are negotiated: impossible, and it says so', () => {
    const fn = cardFunction();
    negotiate(fn, [0, 1, 1 << 1]);
    expect(fn.device.features).toBe((1n << 32n) | (1n << 65n));
    const live = fn.device as unknown as LiveDevice;
    expect(() => saveFor(live, { target: 'qemu-7.2', title: 'virtio-net@0000:00:03.0' })).toThrow(
      /virtio-net@0000:00:03.0 \/ subsections.features128.*QEMU 7.2 does not load this: features above bit 63 are negotiated/,
    );
    expect(saveFor(live, { target: 'qemu-10.2' }).length).toBeGreaterThan(1000);
  });

  test('features that a PCI driver has written into the upper words', () => {
    const state = card().capture();
    const extraState = { modernState: { ...modernStateOf(state.subsections), features128: 0n } };
    const written = { ...state, subsections: { ...state.subsections, extraState } };
    expect(stateFor('virtio-net', { target: 'qemu-7.2' })(written).subsections.extraState).toEqual({
      modernState: modernStateOf(state.subsections),
    });
    const wild = { modernState: { ...extraState.modernState, features128: 4n } };
    const write = stateFor('virtio-net', { target: 'qemu-7.2' });
    expect(() => write({ ...state, subsections: { ...state.subsections, extraState: wild } })).toThrow(
      StateError,
    );
  });

  test('receive-side scaling: in the version that is known', () => {
    const live = card();
    const state = live.capture();
    const rss = {
      version: 2,
      enabled: true,
      redirect: true,
      populateHash: false,
      hashTypes: 0x3f,
      supportedHashTypes: 0x1ff,
      indirectionsLen: 1,
      defaultQueue: 0,
      key: new Uint8Array(40),
      indirectionsTable: [0],
    };
    const scaled = { ...state, device: { ...(state.device as NetState), rss } };
    const versionFor = (target: string): number | undefined =>
      stateFor('virtio-net', { target })(scaled).device.rss?.version;
    expect([versionFor('7.2'), versionFor('10.0'), versionFor('10.2'), versionFor('11.1')]).toEqual([
      1, 1, 2, 2,
    ]);
    const few = { ...scaled, device: { ...scaled.device, rss: { ...rss, supportedHashTypes: 0x3f } } };
    expect(() => stateFor('virtio-net', { target: 'qemu-7.2' })(few)).toThrow(
      /hash types that the source supports \(0x3f\)/,
    );
  });

  test('rings that nobody uses: not larger than the target makes them', () => {
    const model = new BlkDevice({ backend: memoryDisk(1 << 16), queueSize: 1024, queues: 2 });
    const fn = new PciFunction(model, { memory, sendMsi: () => {}, setIntx: () => {} });
    const live = fn.device;
    const sizes = (target: string): number[] =>
      virtioDevice(pci, blk)
        .decode(saveFor(live, { target, machine: 'pc-q35-7.2' }))
        .queues.map(({ num }) => num);
    expect([sizes('qemu-7.2'), sizes('qemu-11.1'), sizes('qemu-11.1,queue-size=1024')]).toEqual([
      [1024, 1024],
      [256, 256],
      [1024, 1024],
    ]);
    fn.barWrite(4, 22, 2, 1);
    fn.barWrite(4, 24, 2, 1024);
    fn.barWrite(4, 32, 4, 0x1000);
    fn.barWrite(4, 40, 4, 0x8000);
    fn.barWrite(4, 48, 4, 0x9000);
    fn.barWrite(4, 28, 2, 1);
    expect(() => sizes('qemu-11.1')).toThrow(
      /queues\[1\].num.*and the driver uses them.*give the target queue-size=1024/,
    );
  });

  test('features that came later are refused', () => {
    const state = card().capture();
    const uso = {
      ...state,
      subsections: { ...state.subsections, features64: (1n << 32n) | (1n << BigInt(NET_FEATURE.HOST_USO)) },
    };
    expect(() => stateFor('virtio-net', { target: 'qemu-7.2' })(uso)).toThrow(
      /VIRTIO_NET_F_HOST_USO is negotiated, and QEMU 7.2 does not have it/,
    );
    expect(stateFor('virtio-net', { target: 'qemu-8.2' })(uso)).toMatchObject({ status: 0 });
  });

  test('QEMUs and devices that are not known', () => {
    expect(() => stateFor('virtio-net', { target: 'qemu-4.2' })).toThrow(/a QEMU from 5.2 on expected/);
    expect(() => stateFor('virtio-crypto', { target: 'qemu-7.2' })).toThrow(
      /virtio-crypto: what QEMU's versions read/,
    );
  });
});

function modernStateOf(subsections: { readonly extraState?: unknown }): object {
  const { modernState } = subsections.extraState as { readonly modernState: object };
  return modernState;
}

const binaries = [...findQemus('x86_64').values()];
if (binaries.length === 0) console.warn('SKIPPED: no qemu-system-x86_64');

/** Devices as a newer program, or one with other defaults, makes them: what an older one cannot read, or a newer one refuses. */
const NEWER = [
  connect(netType).to((_title, inferred) => ({
    ...inferred,
    backend: network,
    offloads: { csum: true, tso: true, udpTunnel: true },
  })),
  connect(blkType).to((_title, inferred) => ({
    ...inferred,
    backend: memoryDisk(64 << 20),
    queueSize: 1024,
  })),
];

const MACHINE = 'pc-q35-5.2';
const OPTIONS: Omit<QemuOptions, 'binary'> = {
  arch: 'x86_64',
  machine: MACHINE,
  memoryMiB: 64,
  sharedMemory: false,
  args: [
    ...['-blockdev', 'driver=null-co,size=67108864,read-zeroes=on,node-name=d0'],
    ...['-device', 'virtio-blk-pci,drive=d0,num-queues=2', '-netdev', 'user,id=n0,restrict=on'],
    ...['-device', 'virtio-net-pci,netdev=n0,romfile='],
  ],
  paused: true,
};

/** The stream of a real QEMU, whose disk and card were live devices here in between. */
function throughLiveDevices(stream: Uint8Array, save: (live: LiveDevice) => Uint8Array): Uint8Array {
  const around: Surroundings = {
    memory: new MappedMemory([{ gpa: 0, bytes: new Uint8Array(64 << 20) }]),
    machine: MACHINE,
    targetEndian: 'little',
  };
  const bodies = new Map<string, Uint8Array>();
  for (const section of parseStream(stream).sections) {
    const device = findVirtio(section, registry);
    if (device !== undefined) bodies.set(section.header.idstr, save(newer(device, around)));
  }
  expect(bodies.size).toBe(2);
  const chunks: Uint8Array[] = [];
  const sink = new StreamRewriter((bytes, start, end) => chunks.push(bytes.slice(start, end)), {
    body: ({ idstr }) => bodies.get(idstr),
  });
  const parser = new StreamParser(sink, { accepts: acceptVirtio(registry) });
  parser.push(stream);
  parser.end();
  return Buffer.concat(chunks);
}

/** The device as the newer program has it, before a driver has touched it; all but the device's own comes from the stream. */
function newer(device: VirtioDevice, around: Surroundings): LiveDevice {
  const { state } = decodeVirtio(device);
  const model = NEWER.find(({ name }) => name === device.name)?.make(device.name, state);
  if (model === undefined) throw new Error(`${device.name}: not expected`);
  const live = freshDevice(device, state, model, around);
  const fresh = live.capture();
  live.restore({
    ...state,
    queues: state.queues.map((queue, index) => ({ ...queue, num: fresh.queues[index]?.num ?? queue.num })),
    subsections: { ...state.subsections, ...withHigh(fresh.subsections) },
  });
  return live;
}

/** The body, but that the card says that it has no virtio-net header: QEMU's user back end has none. */
function encode(live: LiveDevice, state: VirtioState): Uint8Array {
  const device = live.model.layer === net ? { ...(state.device as NetState), hasVnetHdr: 0 } : state.device;
  return codecOf(live).encode({ ...state, device });
}

function withHigh({ features128 }: { readonly features128?: bigint }): object {
  return features128 === undefined ? {} : { features128 };
}

describe.skipIf(binaries.length === 0)(
  'a real QEMU loads what was written for it',
  { timeout: TIMEOUT_MS },
  () => {
    test.each(binaries)('$version', async (binary: QemuBinary) => {
      const version = binary.version.split('.').slice(0, 2).join('.');
      const target = `qemu-${version}`;
      const stream = await withQemu({ ...OPTIONS, binary }, (vm) => vm.migrate());
      const load = (bytes: Uint8Array): Promise<LoadResult> =>
        withQemu({ ...OPTIONS, binary, incoming: true }, (vm) => vm.load(bytes));
      const plain = throughLiveDevices(stream, (live) => encode(live, live.capture()));
      const refusal =
        version === '11.1' ? /exceeds allocated max/ : /No such file or directory|128bit_features/;
      expect(await load(plain)).toMatchObject({ ok: false, error: expect.stringMatching(refusal) });
      const written = throughLiveDevices(stream, (live) =>
        encode(live, stateFor(live.model.layer.name, { target, machine: MACHINE })(live.capture())),
      );
      expect(await load(written)).toEqual({ ok: true });
    });
  },
);
