// Configuration space and offered features, as QEMU told of its own devices.
import { readdirSync, readFileSync } from 'node:fs';
import { FEATURE, isHostError } from '@virtkit/core';
import { BlkDevice, type BlkOptions, guessGeometry, memoryDisk } from '@virtkit/device-blk';
import { describe, expect, test } from 'vitest';
import { Machine } from './machine.ts';

const streams = new URL('../../lab/streams/', import.meta.url);

interface Truth {
  readonly name: string;
  /** `-device` properties. */
  readonly properties: Readonly<Record<string, string>>;
  readonly machine: string;
  readonly writethrough: boolean;
  readonly readOnly: boolean;
  readonly processors: number;
  readonly config: Uint8Array;
  /** Low 32 bits, where the device has a legacy interface. */
  readonly features: number | undefined;
}

/** Every virtio-blk-pci of QEMU 7.2 and 10.0 whose configuration bytes were read. */
function truths(): Truth[] {
  const list: Truth[] = [];
  const files = ['7.2.22', '10.0.13'].flatMap((version) =>
    readdirSync(new URL(`${version}/`, streams)).map((file) => `${version}/${file}`),
  );
  for (const file of files.filter((name) => name.endsWith('.json'))) {
    const { machine, command_line: line, truth } = JSON.parse(readFileSync(new URL(file, streams), 'utf8'));
    const words: string[] = Array.isArray(line) ? line : [];
    const drives = new Map(words.map((word) => [properties(word)['id'], word]));
    const processors = Number(words[words.indexOf('-smp') + 1] ?? 1);
    for (const { qdev_id, device_cfg_modern, legacy_io } of truth?.pci ?? []) {
      const device = words.find(
        (word) => word.startsWith('virtio-blk-pci') && properties(word)['id'] === qdev_id,
      );
      const bytes: string | undefined = device_cfg_modern ?? legacy_io?.device_cfg;
      if (device === undefined || bytes === undefined) continue;
      const drive = drives.get(properties(device)['drive']) ?? '';
      list.push({
        name: `${file.replace('.json', '')} ${qdev_id}`,
        properties: properties(device),
        machine,
        writethrough: drive.includes('cache=writethrough'),
        readOnly: drive.includes('readonly=on'),
        processors,
        config: Uint8Array.from(Buffer.from(bytes, 'hex')),
        features: legacy_io?.host_features,
      });
    }
  }
  return list;
}

function properties(word: string): Record<string, string> {
  return Object.fromEntries(
    word.split(',').map((part) => {
      const [key = '', value = 'on'] = part.split('=');
      return [key, value] as const;
    }),
  );
}

/** The options for which a device should look like this one. */
function optionsFor({
  properties: p,
  machine,
  writethrough,
  processors,
  config,
  readOnly,
}: Truth): BlkOptions {
  const version = Number(/-(\d+\.\d+)$/.exec(machine)?.[1] ?? 7.2);
  const [major = 7, minor = 2] = String(version).split('.').map(Number);
  const upTo = (a: number, b: number): boolean => major < a || (major === a && minor <= b);
  const on = (name: string, usual: boolean): boolean => (p[name] === undefined ? usual : p[name] === 'on');
  const view = new DataView(config.buffer);
  const blockSize = Number(p['logical_block_size'] ?? 512);
  return {
    // all disks of the collection are zeros; how large they are is what the device says
    backend: memoryDisk(Number(view.getBigUint64(0, true)) * 512),
    blockSize,
    physicalBlockExp: Math.log2(Number(p['physical_block_size'] ?? blockSize) / blockSize),
    queues: Number(p['num-queues'] ?? (upTo(5, 1) ? 1 : processors)),
    queueSize: Number(p['queue-size'] ?? (upTo(4, 2) ? 128 : 256)),
    segMaxAdjust: on('seg-max-adjust', !upTo(4, 2)),
    discard: on('discard', !upTo(3, 1)),
    writeZeroes: on('write-zeroes', !upTo(3, 1)),
    configWce: on('config-wce', true),
    flushIfConfigWce: !upTo(4, 2),
    writeCache: !writethrough,
    readOnly,
  };
}

describe('the devices of the collection', () => {
  const all = truths();
  test('are enough to say something', () => {
    expect(all.length).toBeGreaterThan(20);
  });

  test.each(all.map((truth) => ({ name: truth.name, truth })))('$name', ({ truth }) => {
    const disk = new BlkDevice(optionsFor(truth));
    const on = (name: string): boolean => truth.properties[name] !== 'off';
    const { live, driver } = new Machine(disk, {
      idle: true,
      version1: truth.properties['disable-modern'] !== 'on',
      rings: { indirect: on('indirect_desc'), eventIdx: on('event_idx') },
    });
    // reads behind the end give ones
    const length = truth.config.findLastIndex((byte) => byte !== 0xff) + 1;
    expect(disk.configLength).toBe(length);
    const config = Uint8Array.from({ length }, (_, i) => driver.config.read(i, 1));
    const expected = truth.config.slice(0, length);
    // the guest may have switched the cache
    expected[32] = config[32] as number;
    expect(Buffer.from(config).toString('hex')).toBe(Buffer.from(expected).toString('hex'));
    if (truth.features === undefined) return;
    expect(live.offeredFeatures & 0xffffffffn).toBe(BigInt(truth.features));
  });
});

describe('features', () => {
  test('have SCSI, and not any layout, without VERSION_1', () => {
    const { features, getFeatures } = new BlkDevice({ backend: memoryDisk(512) });
    const disk = new BlkDevice({ backend: memoryDisk(512) });
    expect(features).toBe(0x6e54n);
    expect(getFeatures.call(disk, 1n << 27n)).toBe(1n << 7n);
    expect(disk.getFeatures((1n << 27n) | (1n << 32n))).toBe((1n << 27n) | (1n << 32n));
  });

  test.each<[Partial<BlkOptions>, bigint, number]>([
    [{}, 0x6e54n, 57],
    [{ queues: 2 }, 0x7e54n, 57],
    [{ readOnly: true }, 0x6e74n, 57],
    [{ discard: false, writeZeroes: false }, 0x0e54n, 36],
    [{ writeZeroes: false }, 0x2e54n, 48],
    [{ configWce: false, writeCache: false }, 0x6454n, 57],
    [{ writeCache: false, flushIfConfigWce: false }, 0x6c54n, 57],
    [{ sizeMax: 65536 }, 0x6e56n, 57],
    [{ lifetime: { preEolInfo: 1, typA: 1, typB: 1 } }, 0xee54n, 57],
    [{ secureErase: true }, 0x16e54n, 72],
  ])('%j', (options, features, length) => {
    const backend = Object.assign(memoryDisk(512), { secureErase: () => undefined });
    const disk = new BlkDevice({ backend, ...options });
    expect(disk.features).toBe(features);
    expect(disk.configLength).toBe(length);
  });
});

describe('geometry', () => {
  const table = (...entries: readonly (readonly [number, number, number, number])[]): Uint8Array => {
    const sector = new Uint8Array(512);
    sector.set([0x55, 0xaa], 510);
    for (const [index, head, sectors, count] of entries) {
      sector[446 + 16 * index + 5] = head;
      sector[446 + 16 * index + 6] = sectors;
      new DataView(sector.buffer).setUint32(446 + 16 * index + 12, count, true);
    }
    return sector;
  };

  test.each([
    ['no table', 32768, new Uint8Array(512), [32, 16, 63]],
    ['nothing known', 131072, undefined, [130, 16, 63]],
    ['empty', 0, undefined, [2, 16, 63]],
    ['large', 2 ** 32, undefined, [16383, 16, 63]],
    ['a partition', 32768, table([0, 7, 32, 100]), [128, 8, 32]],
    ['a partition of no sectors', 32768, table([0, 7, 32, 0]), [32, 16, 63]],
    ['the second partition', 32768, table([0, 0, 32, 100], [1, 7, 0, 100], [2, 15, 63, 1]), [32, 16, 63]],
    ['upper bits of the sector are the cylinder', 32768, table([3, 7, 0xe0, 100]), [128, 8, 32]],
    ['a translation', 32768, table([0, 254, 63, 100]), [32, 16, 63]],
    ['too many cylinders', 2 ** 30, table([0, 7, 32, 100]), [16383, 16, 63]],
    ['too few cylinders', 255, table([0, 7, 32, 100]), [2, 16, 63]],
  ])('%s', (_name, sectors, first, [cylinders, heads, perTrack]) => {
    expect(guessGeometry(sectors, first)).toEqual({ cylinders, heads, sectors: perTrack });
  });

  test('is read from the disk if that can be had at once', () => {
    const content = new Uint8Array(32768 * 512);
    content.set(table([0, 7, 32, 100]));
    const config = (options: BlkOptions): number => {
      const view = new DataView(new ArrayBuffer(57));
      new BlkDevice(options).getConfig(view, true);
      return view.getUint16(16, true);
    };
    const backend = memoryDisk(content);
    expect(config({ backend })).toBe(128);
    expect(config({ backend, geometry: { cylinders: 5, heads: 1, sectors: 1 } })).toBe(5);
    const later = { size: content.length, read: () => Promise.resolve(), write: () => Promise.resolve() };
    expect(config({ backend: later })).toBe(32);
    expect(config({ backend: { ...later, firstSector: content.subarray(0, 512) } })).toBe(128);
    const failing = { ...later, read: () => Promise.reject(new Error('no')) };
    expect(config({ backend: failing })).toBe(32);
  });
});

describe('mistakes of the host program', () => {
  const backend = memoryDisk(4096);
  test.each<[string, object]>([
    ['queueSize', { queueSize: 100 }],
    ['queueSize', { queueSize: 2 }],
    ['queueSize', { queueSize: 2048 }],
    ['queues', { queues: 0 }],
    ['queues', { queues: 1025 }],
    ['blockSize', { blockSize: 511 }],
    ['blockSize', { blockSize: 2 ** 22 }],
    ['minIoSize', { minIoSize: 100 }],
    ['optIoSize', { optIoSize: 513 }],
    ['serial', { serial: 'ümlaut' }],
    ['serial', { serial: 'a\0b' }],
    ['discard.maxSectors', { discard: { maxSectors: 0x400000 } }],
    ['discard.granularity', { discard: { granularity: 1000 } }],
    ['writeZeroes.maxSegments', { writeZeroes: { maxSegments: 0 } }],
    ['secureErase', { secureErase: true }],
    ['geometry.heads', { geometry: { cylinders: 1, heads: 0, sectors: 1 } }],
    ['backend.size', { backend: { size: -1, read: () => undefined, write: () => undefined } }],
  ])('%s: %j', (name, options) => {
    try {
      new BlkDevice({ backend, ...options });
      expect.unreachable();
    } catch (error) {
      expect(isHostError(error)).toBe(true);
      expect(String(error)).toContain(`${name}:`);
    }
  });

  test('are told for disks and for sizes, too', () => {
    expect(() => memoryDisk(100)).toThrow('multiple of 512');
    const m = new Machine(new BlkDevice({ backend: memoryDisk(4096) }));
    for (const sectors of [9, -1, 1.5, Number.NaN]) expect(() => m.disk.resize(sectors)).toThrow('resize');
    expect(() => new Machine(m.disk)).toThrow('another device');
    expect(() => new BlkDevice({ backend: memoryDisk(512) }).resize(0)).toThrow('no device');
  });
});

describe('resize', () => {
  test('tells the driver, and changes what is in range', () => {
    const backend = memoryDisk(8 * 512);
    const m = new Machine(new BlkDevice({ backend }));
    expect(m.read(8, 512).status).toBe(1);
    backend.resize(16 * 512);
    const { generation } = m.driver.config;
    m.wire.notified.length = 0;
    m.disk.resize();
    expect(m.wire.notified).toEqual([-1]);
    expect(m.driver.config.generation).toBe(generation + 1);
    expect(m.driver.isr).toBe(3);
    expect(m.driver.config.read(0, 4)).toBe(16);
    expect(m.read(8, 512).status).toBe(0);
    m.disk.resize(4);
    expect(m.read(4, 512).status).toBe(1);
    expect(m.disk.capacity).toBe(4);
    // no change, no interrupt
    m.wire.notified.length = 0;
    m.disk.resize(4);
    expect(m.wire.notified).toEqual([]);
  });

  test('has no interrupt before the driver runs', () => {
    const backend = memoryDisk(8 * 512);
    const m = new Machine(new BlkDevice({ backend }), { idle: true });
    m.disk.resize(4);
    expect(m.wire.notified).toEqual([]);
    expect(m.driver.isr).toBe(0);
  });
});

describe('write cache', () => {
  const CONFIG_WCE = 1n << 11n;
  const FLUSH = 1n << 9n;
  const V1 = 1n << BigInt(FEATURE.VERSION_1);

  /** How many flushes a write takes. */
  function flushes(features: bigint, options: Partial<BlkOptions> = {}, legacy = false) {
    let count = 0;
    const backend = Object.assign(memoryDisk(65536), { flush: () => void count++ });
    const m = new Machine(new BlkDevice({ backend, ...options }), { features, legacy });
    const write = (): number => {
      count = 0;
      expect(m.write(0, new Uint8Array(512)).status).toBe(0);
      m.used();
      return count;
    };
    return { m, write };
  }

  test.each([
    ['taken', V1 | CONFIG_WCE | FLUSH, {}, 0],
    ['taken, and off', V1 | CONFIG_WCE | FLUSH, { writeCache: false }, 1],
    ['not taken, FLUSH taken', V1 | FLUSH, { writeCache: false }, 0],
    ['neither taken', V1, {}, 1],
  ])('CONFIG_WCE %s', (_name, features, options, expected) => {
    const { m, write } = flushes(features, options);
    expect(write()).toBe(expected);
    expect(m.driver.config.read(32, 1)).toBe(1 - expected);
    expect(m.disk.writeCache).toBe(expected === 0);
  });

  test('is the driver’s to switch, until a reset', () => {
    const { m, write } = flushes(V1 | CONFIG_WCE | FLUSH);
    m.driver.config.read(32, 1);
    m.driver.config.write(32, 1, 0);
    expect(write()).toBe(1);
    m.driver.config.write(32, 1, 2);
    expect(write()).toBe(0);
    expect(m.driver.config.read(32, 1)).toBe(1);
    m.driver.config.write(32, 1, 0);
    m.start();
    expect(write()).toBe(0);
  });

  test('follows the cached bytes, as in QEMU, where the driver writes another field without having read', () => {
    const { m } = flushes(V1 | CONFIG_WCE | FLUSH);
    m.driver.config.write(0, 4, 77);
    expect(m.disk.writeCache).toBe(false);
    expect(m.driver.config.read(0, 4)).toBe(128);
  });

  test('is the same for a legacy driver', () => {
    expect(flushes(FLUSH, {}, true).write()).toBe(0);
    expect(flushes(0n, {}, true).write()).toBe(1);
  });

  test('is kept over a save, also the driver’s choice', () => {
    for (const on of [0, 1]) {
      const { m } = flushes(V1 | CONFIG_WCE | FLUSH);
      m.driver.config.read(0, 4);
      m.driver.config.write(32, 1, on);
      const backend = memoryDisk(65536);
      const next = new Machine(new BlkDevice({ backend }), { ram: m.ram, idle: true });
      next.live.restore(m.live.capture());
      expect(next.disk.writeCache).toBe(on === 1);
      const third = new Machine(new BlkDevice({ backend }), { ram: m.ram, idle: true });
      third.live.restore(next.live.capture());
      expect(third.disk.writeCache).toBe(on === 1);
    }
    const { m } = flushes(V1);
    const next = new Machine(new BlkDevice({ backend: memoryDisk(65536) }), { ram: m.ram, idle: true });
    next.live.restore(m.live.capture());
    expect(next.disk.writeCache).toBe(false);
  });
});
