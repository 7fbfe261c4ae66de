import { type DeviceModel, isModern, negotiated, type VirtioState } from '@virtkit/core';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { NetDevice } from '@virtkit/device-net';
import { compareVersions } from '@virtkit/lab';
import { describe, expect, test } from 'vitest';
import { CcwDevice, type CcwOptions, ChannelSubsystem } from '../src/index.ts';
import { firstDifference, memoryFor, type SavedDevice, savedDevices, streamFiles } from './corpus.ts';
import { ReplayModel } from './replay-model.ts';

/** Device types that QEMU has without a legacy interface. */
const MODERN_ONLY = new Set(['virtio-gpu', 'virtio-input']);

/** A device made as QEMU's command line and machine type say, and nothing of the state. */
function optionsFor(saved: SavedDevice, place: Place): CcwOptions {
  const { properties, version, machine, name } = saved;
  const memory = memoryFor(saved);
  const since = (release: string): boolean => compareVersions(machine, release) >= 0;
  return {
    memory,
    host: new ChannelSubsystem({ memory }),
    ...place,
    maxRevision: Number(properties.get('max_revision') ?? (since('2.5') ? 2 : 0)),
    modernOnly: MODERN_ONLY.has(name),
    saveOrb: since('2.10'),
    // QEMU 10.0.13 makes rings of 1024 for everything, so that none is smaller than it was made; 11.1 never saves it
    saveRingSize: version === '7.2.22',
    useStarted: since('4.1'),
    rings: { packed: properties.get('packed') === 'on', ringReset: since('7.2') },
  };
}

/** Where the section's name or its place among the devices says that the device is. */
interface Place {
  readonly ssid: number;
  readonly devno: number;
}

function placeOf({ title }: SavedDevice, index: number): Place {
  const [, ssid, devno] = /\/fe\.(\d)\.([0-9a-f]{4})\//.exec(title) ?? [];
  return devno === undefined
    ? { ssid: 0, devno: index }
    : { ssid: Number(ssid), devno: Number.parseInt(devno, 16) };
}

/** The device types that there are packages for, as QEMU made theirs. */
const REAL: Readonly<Record<string, (saved: SavedDevice) => DeviceModel>> = {
  'virtio-blk': ({ state, machine, properties }) => {
    const config = new DataView(state.config.buffer, state.config.byteOffset);
    const sectors = config.getBigUint64(0, isModern(negotiated(state)));
    return new BlkDevice({
      backend: memoryDisk(Number(sectors) * 512 || 1 << 20),
      queues: Number(properties.get('num-queues') ?? 1),
      queueSize: state.subsections.ringsize?.[0] ?? state.queues[0]?.num ?? 256,
      blockSize: Number(properties.get('logical_block_size') ?? 512),
      flushIfConfigWce: compareVersions(machine, '5.0') >= 0,
      ...(compareVersions(machine, '4.0') < 0 && { discard: false, writeZeroes: false }),
      // where QEMU writes it, which is not where it looks for it
      ndescs: 'before',
    }) as DeviceModel;
  },
  'virtio-net': ({ state, netdev, properties }) => {
    const tap = netdev.startsWith('tap');
    const mq = properties.get('mq') === 'on';
    return new NetDevice({
      backend: { send: () => true },
      mac: properties.get('mac') ?? '',
      ...(tap && { offloads: { csum: true, tso: true, ufo: true } }),
      mq,
      queuePairs: Number(/queues=(\d+)/.exec(netdev)?.[1] ?? 1),
      rxQueueSize: state.queues[0]?.num ?? 256,
      txQueueSize: state.queues[1]?.num ?? 256,
    }) as DeviceModel;
  },
};

/** Takes a state over, and what it gives back. */
function roundTrip(device: CcwDevice, { state, codec, body, title }: SavedDevice): void {
  const live = device.device;
  const findings = live.check(state).filter(({ severity }) => severity === 'error');
  expect(
    findings.map(({ path, reason }) => `${path}: ${reason}`),
    title,
  ).toEqual([]);
  live.restore(state);
  expect(live.broken).toBe(state.subsections.broken ?? false);
  // fields behind the virtio field belong to the device's own vmsd
  const captured = { ...live.capture(), ...(state.rest !== undefined && { rest: state.rest }) };
  expect(captured, title).toEqual(state);
  expect(firstDifference(codec.encode(captured), body), title).toBe(-1);
}

/** A device like the saved one, of the type that there is a package for, or of one that only carries the state. */
function deviceFor(saved: SavedDevice, index: number, real: boolean): CcwDevice {
  const model = real ? REAL[saved.name]?.(saved) : undefined;
  const carrier = new ReplayModel(saved.codec.device, saved.state as VirtioState<never>) as DeviceModel;
  return new CcwDevice(model ?? carrier, optionsFor(saved, placeOf(saved, index)));
}

const files = streamFiles();

test('there are streams of every version', () => {
  expect(new Set(files.map(({ version }) => version)).size).toBeGreaterThanOrEqual(3);
});

describe.each(files)('$version $file', ({ version, file }) => {
  test('each device is taken over by one made from the command line, and given back', () => {
    const all = savedDevices(version, file);
    expect(all.length).toBeGreaterThan(0);
    all.forEach((saved, index) => {
      roundTrip(deviceFor(saved, index, false), saved);
      if (saved.name in REAL) roundTrip(deviceFor(saved, index, true), saved);
    });
  });
});

describe.each(files.filter(({ file }) => file.endsWith('-reset')))('$version $file', ({ version, file }) => {
  test("a device that no guest has touched has the state of QEMU's", () => {
    savedDevices(version, file).forEach((saved, index) => {
      const { device, subchannel } = deviceFor(saved, index, true);
      subchannel.schid = index;
      const { rest } = saved.state;
      expect({ ...device.capture(), ...(rest !== undefined && { rest }) }).toEqual(saved.state);
    });
  });
});
