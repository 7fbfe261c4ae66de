// What QEMU said of its own network cards, against ours made with the same options.
import { readdirSync, readFileSync } from 'node:fs';
import { NET_FEATURE, NetDevice, type NetOptions } from '@virtkit/device-net';
import { describe, expect, test } from 'vitest';
import { hex, Machine, Sink } from './machine.ts';

const corpus = new URL('../../lab/streams/', import.meta.url);

interface Status {
  readonly name: string;
  readonly path: string;
  readonly status?: { readonly 'host-features'?: { readonly 'dev-features': readonly string[] } };
}

interface Registers {
  readonly qdev_id?: string;
  readonly legacy_io?: { readonly host_features?: number; readonly device_cfg?: string };
}

interface Info {
  readonly command_line?: readonly string[];
  readonly truth?: { readonly virtio?: readonly Status[]; readonly pci?: readonly Registers[] };
}

interface Told {
  readonly title: string;
  readonly properties: ReadonlyMap<string, string>;
  readonly tap: boolean;
  readonly queues: number;
  readonly id: string;
  readonly info: Info;
}

/** Every network card of the corpus, as the command line made it. */
function cards(): Told[] {
  return readdirSync(corpus).flatMap((version) =>
    readdirSync(new URL(`${version}/`, corpus))
      .filter((file) => file.endsWith('.json'))
      .flatMap((file) => {
        const info = JSON.parse(readFileSync(new URL(`${version}/${file}`, corpus), 'utf8')) as Info;
        const line = info.command_line ?? [];
        return line
          .filter((word, i) => line[i - 1] === '-device' && /^virtio-net-/.test(word))
          .map((word) => {
            const properties = pairs(word);
            const netdev = properties.get('netdev') ?? '';
            const backend = line.find(
              (other, i) => line[i - 1] === '-netdev' && pairs(other).get('id') === netdev,
            );
            return {
              title: `${version} ${file.slice(0, -5)} ${properties.get('id')}`,
              properties,
              tap: backend?.startsWith('tap,') === true,
              queues: Number(pairs(backend ?? '').get('queues') ?? 1),
              id: properties.get('id') ?? '',
              info,
            };
          });
      }),
  );
}

function pairs(word: string): Map<string, string> {
  return new Map(
    word.split(',').map((part) => [part.split('=')[0] ?? '', part.split('=').slice(1).join('=')]),
  );
}

function optionsFor({ properties, tap, queues, info }: Told): NetOptions {
  const off = (key: string): boolean => properties.get(key) === 'off';
  const on = (key: string): boolean => properties.get(key) === 'on';
  const told = namedBits(info, properties.get('id') ?? '');
  const number = (key: string): number | undefined =>
    properties.has(key) ? Number(properties.get(key)) : undefined;
  const [mtu, speed] = [number('host_mtu'), number('speed')];
  return {
    backend: new Sink(),
    mac: properties.get('mac') ?? '',
    queuePairs: queues,
    mq: on('mq'),
    // what a tap device does is the host kernel's choice
    ...(tap && {
      offloads: {
        csum: true,
        tso: true,
        ufo: told.has(NET_FEATURE.HOST_UFO),
        uso: told.has(NET_FEATURE.HOST_USO),
        udpTunnel: on('host_tunnel'),
      },
    }),
    ...(mtu !== undefined && { mtu }),
    ...(speed !== undefined && { speed }),
    ...(properties.has('duplex') && { duplex: properties.get('duplex') as 'half' | 'full' }),
    rss: on('rss'),
    hashReport: on('hash'),
    status: !off('status'),
    guestAnnounce: !off('guest_announce'),
    mrgRxbuf: !off('mrg_rxbuf'),
    ctrlVq: !off('ctrl_vq'),
  };
}

/** The offered features of a card by name. QEMU's list has no name for some that are newer than it. */
function namedBits(info: Info, id: string): Set<number> {
  const found = (info.truth?.virtio ?? []).find(
    ({ name, path }) => name === 'virtio-net' && path.includes(`/${id}/`),
  );
  const names = found?.status?.['host-features']?.['dev-features'] ?? [];
  return new Set(
    names.flatMap((text) => {
      const name = /^VIRTIO_NET_F_(\w+):/.exec(text)?.[1];
      const bit = (NET_FEATURE as Record<string, number>)[name ?? ''];
      return bit === undefined ? [] : [bit];
    }),
  );
}

const all = cards();
const named = all.filter((card) => namedBits(card.info, card.id).size > 0);
const registers = all.flatMap((card) => {
  const io = card.info.truth?.pci?.find(({ qdev_id }) => qdev_id === card.id)?.legacy_io;
  return io?.device_cfg === undefined ? [] : [{ ...card, io }];
});

describe('offered features', () => {
  test('there are cards to compare with', () => {
    expect(named.length).toBeGreaterThan(100);
    expect(registers.length).toBeGreaterThan(10);
  });

  test.each(named)('$title', (told) => {
    const { features } = new NetDevice(optionsFor(told));
    const known = namedBits(told.info, told.id);
    // x-query-virtio-status has no names for these in all versions
    const nameless = new Set<number>([NET_FEATURE.GUEST_USO4, NET_FEATURE.GUEST_USO6, NET_FEATURE.HOST_USO]);
    const ours = [...Array(64).keys()].filter(
      (bit) => ((features >> BigInt(bit)) & 1n) === 1n && !nameless.has(bit),
    );
    expect(new Set(ours)).toEqual(new Set([...known].filter((bit) => bit < 64 && !nameless.has(bit))));
  });
});

describe('registers', () => {
  test.each(registers)('$title', ({ io, ...told }) => {
    const machine = new Machine({ net: optionsFor(told), idle: true });
    const low = Number(machine.live.offeredFeatures & 0xffffffffn);
    if (!told.properties.has('indirect_desc') && !told.properties.has('event_idx'))
      expect(low).toBe(io.host_features);
    // a longer read than the configuration space gives ones
    const bytes = io.device_cfg ?? '';
    if (told.title.includes('linkdown')) machine.card.setLink(false);
    const ours = hex(machine.config());
    expect(bytes.startsWith(ours)).toBe(true);
    expect(bytes.slice(ours.length)).toMatch(/^f*$/);
  });

  test('QEMU 7.2.22 with default options: 0x79bf8064', () => {
    const machine = new Machine({ idle: true });
    expect(machine.live.offeredFeatures & 0xffffffffn).toBe(0x79bf8064n);
    expect(hex(machine.config())).toBe('5254001234560100');
  });

  test('rss=on,hash=on without a virtio header: room for the fields, and no hash report', () => {
    const machine = new Machine({ net: { rss: true, hashReport: true }, idle: true });
    expect(hex(machine.config())).toBe('525400123456010001000000ffffffffff288000ff010000');
    expect(machine.live.offers(NET_FEATURE.HASH_REPORT)).toBe(false);
  });

  test.each<[string, Partial<NetOptions>, string]>([
    ['nothing', { status: false }, '525400123456'],
    ['STATUS', {}, '5254001234560100'],
    ['MQ', { mq: true, queuePairs: 4 }, '52540012345601000400'],
    ['MTU', { mtu: 1400 }, '525400123456010001007805'],
    ['speed', { speed: 10000, duplex: 'full' }, '5254001234560100010000001027000001'],
    ['half duplex', { duplex: 'half' }, '525400123456010001000000ffffffff00'],
    [
      'hash report alone',
      { hashReport: true, offloads: {} },
      '525400123456010001000000ffffffffff280100ff010000',
    ],
  ])('configuration space: %s', (_name, net, expected) => {
    expect(hex(new Machine({ net, idle: true }).config())).toBe(expected);
  });

  test('in the byte order of a legacy guest', () => {
    const machine = new Machine({ net: { mtu: 1400 }, legacy: true, endian: 'big' });
    expect(hex(machine.config())).toBe('525400123456000100010578');
  });
});
