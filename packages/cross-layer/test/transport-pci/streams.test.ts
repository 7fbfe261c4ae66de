import { isDeepStrictEqual } from 'node:util';
import { type DeviceModel, hasFeature, isModern, negotiated, type VirtioState } from '@virtkit/core';
import { BLK_FEATURE, BlkDevice, type BlkState, memoryDisk } from '@virtkit/device-blk';
import { NET_FEATURE, NetDevice, type NetState } from '@virtkit/device-net';
import { PciFunction, type PciParts } from '@virtkit/transport-pci';
import { describe, expect, test } from 'vitest';
import { firstDifference } from './bytes.ts';
import { memoryFor, optionsFor, type SavedFunction, savedFunctions, streamFiles } from './corpus.ts';
import { ReplayModel } from './replay-model.ts';

/** A function made as the command line says, with a device type that carries whatever the state has. */
function replayFor(saved: SavedFunction): PciFunction {
  const model = new ReplayModel(saved.decoded.device.codec.device, saved.state);
  const { config } = saved.state.transport;
  // one type in the specification, several in QEMU: keyboards, mice, tablets
  const classCode = saved.name === 'virtio-input' && {
    classCode: ((config[11] ?? 0) << 16) | ((config[10] ?? 0) << 8),
  };
  return new PciFunction(model as DeviceModel, { ...optionsFor(saved, memoryFor(saved)), ...classCode });
}

/** The same with the real block device. */
function diskFor(saved: SavedFunction): PciFunction<BlkState> {
  const { properties, machine } = saved;
  const state = saved.state as VirtioState<PciParts, BlkState>;
  const [queue] = state.queues;
  const old = /-([1-3]\.\d+|4\.[0-2])$/.test(machine);
  const config = new DataView(state.config.buffer, state.config.byteOffset);
  const sectors = config.getBigUint64(0, isModern(negotiated(state)) || saved.arch !== 'ppc64');
  const ranges = /-([12]\.\d+|3\.[01])$/.test(machine) ? { discard: false, writeZeroes: false } : {};
  return new PciFunction(
    new BlkDevice({
      backend: memoryDisk(Number(sectors) * 512 || 1 << 20),
      queues: state.queues.length,
      queueSize: state.subsections.ringsize?.[0] ?? queue?.num ?? 256,
      ...(properties.has('logical_block_size') && { blockSize: 4096 }),
      readOnly: hasFeature(negotiated(state), BLK_FEATURE.RO),
      configWce: properties.get('config-wce') !== 'off',
      flushIfConfigWce: !old,
      ...ranges,
      // where QEMU writes it, which is not where it looks for it
      ndescs: 'before',
    }),
    optionsFor(saved, memoryFor(saved)),
  );
}

/** And with the real network card. */
function cardFor(saved: SavedFunction): PciFunction<NetState> {
  const { properties } = saved;
  const state = saved.state as VirtioState<PciParts, NetState>;
  const features = negotiated(state);
  const any = (...bits: number[]): boolean => bits.some((bit) => hasFeature(features, bit));
  const flag = (key: string, otherwise: boolean): boolean =>
    properties.has(key) ? properties.get(key) === 'on' : otherwise;
  const F = NET_FEATURE;
  return new PciFunction(
    new NetDevice({
      backend: { send: () => true },
      mac: properties.get('mac') ?? '',
      queuePairs: state.device.maxQueuePairs ?? 1,
      mq: flag('mq', false),
      ...(state.device.hasVnetHdr !== 0 && {
        offloads: {
          csum: true,
          tso: true,
          ufo: state.device.hasUfo !== 0,
          uso: any(F.HOST_USO, F.GUEST_USO4, F.GUEST_USO6),
          udpTunnel: state.subsections.features128 !== undefined,
        },
      }),
      rxQueueSize: state.subsections.ringsize?.[0] ?? state.queues[0]?.num ?? 256,
      txQueueSize: state.subsections.ringsize?.[1] ?? state.queues[1]?.num ?? 256,
      ...(properties.has('host_mtu') && { mtu: Number(properties.get('host_mtu')) }),
      ...(properties.has('speed') && { speed: Number(properties.get('speed')), duplex: 'full' as const }),
      rss: flag('rss', false),
      hashReport: flag('hash', false),
      mrgRxbuf: flag('mrg_rxbuf', true),
      status: flag('status', true),
      ctrlVq: flag('ctrl_vq', true),
      guestAnnounce: flag('guest_announce', true),
      rssStateVersion: saved.version === '11.1.2' ? 2 : 1,
    }),
    optionsFor(saved, memoryFor(saved)),
  );
}

/** Equal states. The picture of a GPU has millions of bytes, which Vitest compares one by one; Node compares them as memory. */
function expectSame(found: object, state: object, title: string): void {
  if (!isDeepStrictEqual(found, state)) expect(found, title).toEqual(state);
}

/** Takes a state over, and what it gives back. */
function roundTrip(fn: PciFunction, { state, decoded, title }: SavedFunction): void {
  const errors = fn.device.check(state).filter(({ severity }) => severity === 'error');
  expect(
    errors.map(({ path, reason }) => `${path}: ${reason}`),
    title,
  ).toEqual([]);
  fn.device.restore(state);
  // fields behind the virtio field belong to the device's own vmsd
  const captured = { ...fn.device.capture(), ...(state.rest !== undefined && { rest: state.rest }) };
  expectSame(captured, state, title);
  const { codec, section } = decoded.device;
  expect(firstDifference(codec.encode(captured), section.body), title).toBe(-1);
}

/** Makes the function with its real device type, if there is one that can be made alike. */
function realFor(saved: SavedFunction): (() => PciFunction) | undefined {
  if (saved.name === 'virtio-blk') return () => diskFor(saved) as PciFunction;
  // QEMU 10.0.13 makes control queues of 1024 entries
  if (saved.name === 'virtio-net' && saved.version !== '10.0.13') return () => cardFor(saved) as PciFunction;
  return undefined;
}

/** A function that no guest has touched has the state of QEMU's. */
function expectFresh(fn: PciFunction, { state, title }: SavedFunction): void {
  const fresh = { ...fn.device.capture(), ...(state.rest !== undefined && { rest: state.rest }) };
  expectSame(fresh, state, `${title}, new`);
}

describe.each(streamFiles())('$version $file', ({ version, file }) => {
  test('each function is taken over by one made from the command line, and given back', () => {
    for (const saved of savedFunctions(version, file)) {
      const neverRan = file.endsWith('-reset');
      if (neverRan) expectFresh(replayFor(saved), saved);
      roundTrip(replayFor(saved), saved);
      const real = realFor(saved);
      if (real === undefined) continue;
      if (neverRan) expectFresh(real(), saved);
      roundTrip(real(), saved);
    }
  });
});
