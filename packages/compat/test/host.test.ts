import { isStateError } from '@virtkit/vmstate';
import { describe, expect, test } from 'vitest';
import {
  answerOf,
  checkStream,
  type HostFacts,
  parseHostFacts,
  parseTarget,
  type TargetOptions,
  type Verdict,
} from '../src/index.ts';
import { ofMachine, withFeatures } from './changed-stream.ts';
import { commandLineOf, readStream, registry } from './corpus.ts';

/** A guest with a card on a tap that uses UDP segmentation. */
const segmenting = withFeatures(readStream('q72-pc-tap-72'), 'virtio-net', 0b111n << 54n);

function check(target: string, options: TargetOptions = {}, machine = 'pc-i440fx-8.2'): Verdict[] {
  const named = parseTarget(`${target},capabilities=x-ignore-shared`, options);
  return checkStream(ofMachine(segmenting, machine), named, registry);
}

const refused = (verdicts: readonly Verdict[]): (string | undefined)[] =>
  verdicts.filter(({ severity }) => severity === 'refused').map(({ property }) => property);

describe('what a tap offers', () => {
  test.each(['5.14.0-570.12.1.el9_6.x86_64', '6.1.0-47-amd64', '6.1', '4.18'])(
    'Linux %s: no UDP segmentation',
    (hostKernel) => {
      const found = check('qemu-8.2', { hostKernel });
      expect(refused(found)).toEqual(['guest_uso4', 'guest_uso6', 'host_uso']);
      expect(found.find(({ code }) => code === 'feature')?.qemuSays).toMatch(
        /^Features 0x1c0010130afffa7 unsupported/,
      );
    },
  );

  test.each(['6.2', '6.12.3', '7.0.1-generic', '10.0'])('Linux %s: it does', (hostKernel) => {
    expect(answerOf(check('qemu-8.2', { hostKernel }))).toBe('loads');
  });

  test('a host that nobody spoke of: unknown, and how to tell', () => {
    const found = check('qemu-8.2');
    expect(answerOf(found)).toBe('unknown');
    expect(found.find(({ code }) => code === 'host')).toMatchObject({
      feature: 'VIRTIO_NET_F_GUEST_USO4',
      advice: expect.stringContaining('--host-kernel'),
    });
  });

  test.each([
    ['debian-12', 'refused'],
    ['ubuntu-24.04', 'loads'],
    ['proxmox-9', 'loads'],
    // both of its kernels are supported, and one has no UDP segmentation; and its QEMU is too old
    ['ubuntu-22.04', 'refused'],
  ])('%s comes with a kernel: %s', (target, expected) => {
    expect(answerOf(check(target, {}, 'pc-i440fx-6.2'))).toBe(expected);
  });

  test('KubeVirt’s nodes run any Linux', () => {
    const machine = 'pc-q35-rhel9.6.0';
    expect(answerOf(check('kubevirt-1.6', {}, machine))).toBe('unknown');
    expect(answerOf(check('kubevirt-1.6', { hostKernel: '6.8' }, machine))).toBe('loads');
    expect(answerOf(check('kubevirt-1.6', { hostKernel: '5.14' }, machine))).toBe('refused');
    // whatever the kernel: its machine has it off
    expect(answerOf(check('kubevirt-1.7', { hostKernel: '6.8' }, machine))).toBe('refused');
  });

  test('another program behind the card: its own to offer', () => {
    const commandLine = commandLineOf('q72-pc-tap-72').map((word) =>
      word.startsWith('tap,')
        ? word.replace(/^tap,/, 'vhost-user,').replace(/,(ifname|script|downscript)=[^,]*/g, '')
        : word,
    );
    const found = check('qemu-8.2', { commandLine, hostKernel: '6.8' }, 'pc-i440fx-7.2');
    expect(answerOf(found)).not.toBe('loads');
  });

  test.each(['', 'six', 'v6.1', '6', '6.x', '-6.1'])('"%s" is no release of a kernel', (hostKernel) => {
    expect(() => parseTarget('qemu-8.2', { hostKernel })).toThrow('the version of a Linux expected');
  });

  test('a guest that uses none of it does not ask for the kernel', () => {
    const plain = readStream('q72-pc-tap-72');
    expect(answerOf(checkStream(plain, parseTarget('qemu-7.2,capabilities=x-ignore-shared'), registry))).toBe(
      'loads',
    );
  });
});

const facts: HostFacts = {
  kernel: '6.8.0-45-generic',
  qemus: [
    {
      path: '/usr/bin/qemu-system-x86_64',
      version: '8.2.2',
      package: 'Debian 1:8.2.2+ds-0ubuntu1.4',
      target: 'x86_64',
      machines: [
        { name: 'pc-i440fx-8.2', alias: 'pc' },
        { name: 'pc-i440fx-noble' },
        {
          name: 'pc-i440fx-own',
          compat: [{ driver: 'virtio-net-device', property: 'rss', value: 'off' }],
        },
        { name: 'pc-q35-8.2', alias: 'q35' },
      ],
      devices: { 'virtio-blk-pci': { drive: null, 'num-queues': '65535' }, 'virtio-net-pci': null },
    },
  ],
};

describe('a QEMU as it answered on its host', () => {
  test.each([
    ['pc-i440fx-8.2', 'loads'],
    // one that virtkit knows of Ubuntu's table, and the program says it has
    ['pc-i440fx-noble', 'loads'],
    ['pc-i440fx-7.2', 'refused'],
    ['pc-i440fx-plucky', 'refused'],
    ['pc-i440fx-unheard-of', 'refused'],
    // it is there, and what it switches on is not known in full
    ['pc-i440fx-own', 'unknown'],
  ])('machine type %s: %s', (machine, expected) => {
    expect(answerOf(check('host', { host: facts }, machine))).toBe(expected);
  });

  test('what it says of a machine type counts more than a table', () => {
    const own: HostFacts = {
      ...facts,
      qemus: facts.qemus.map((qemu) => ({
        ...qemu,
        machines: [
          {
            name: 'pc-i440fx-8.2',
            compat: [{ driver: 'virtio-net-device', property: 'guest_uso6', value: 'off' }],
          },
        ],
      })),
    };
    expect(refused(check('host', { host: own }))).toEqual(['guest_uso6']);
  });

  test('names without a version are what it calls so', () => {
    const commandLine = 'qemu-system-x86_64 -M q35';
    expect(parseTarget('host', { host: facts, commandLine }).destination?.machine).toBe('pc-q35-8.2');
  });

  test('its devices have the properties that it told', () => {
    const commandLine =
      'qemu-system-x86_64 -M pc -device virtio-blk-pci,drive=d,queues=2 -device virtio-net-pci';
    const found = check('host', { host: facts, commandLine });
    expect(found).toContainEqual(
      expect.objectContaining({
        code: 'no-such-property',
        qemuSays: "Property 'virtio-blk-pci.queues' not found",
      }),
    );
    expect(found).toContainEqual(
      expect.objectContaining({
        code: 'no-such-device',
        qemuSays: "'virtio-net-pci' is not a valid device model name",
      }),
    );
  });

  test('several: the target says which', () => {
    const [one] = facts.qemus;
    if (one === undefined) throw new Error('no QEMU');
    const host = { ...facts, qemus: [one, { ...one, path: '/opt/qemu' }] };
    expect(() => parseTarget('host', { host })).toThrow(
      'several: /usr/bin/qemu-system-x86_64, /opt/qemu; say host:PATH',
    );
    expect(parseTarget('host:/opt/qemu', { host }).program?.path).toBe('/opt/qemu');
    expect(() => parseTarget('host:/opt/other', { host })).toThrow('that host has /usr/bin');
    expect(() => parseTarget('host')).toThrow('--host FILE');
  });
});

describe('parseHostFacts', () => {
  const written = (value: object): string => JSON.stringify({ format: 1, kind: 'host', ...value });
  const [qemu] = facts.qemus;

  test('reads what was written', () => {
    expect(parseHostFacts(written(facts))).toEqual(facts);
  });

  test.each([
    [{ kernel: '6.1', qemus: {} }, 'qemus: a list expected'],
    [{ kernel: '6.1', qemus: [{ ...qemu, version: 8 }] }, 'qemus[0].version: a text expected'],
    [{ kernel: '6.1', qemus: [{ ...qemu, machines: [{}] }] }, 'qemus[0].machines[0].name: missing'],
    [{ kernel: '6.1', qemus: [{ ...qemu, devices: [] }] }, 'qemus[0].devices: an object expected'],
    [
      { kernel: '6.1', qemus: [{ ...qemu, devices: { a: { b: 1 } } }] },
      'qemus[0].devices.a.b: a text or null expected',
    ],
  ])('%j: %s', (value, message) => {
    expect(() => parseHostFacts(written(value))).toThrow(message);
  });

  test('more than any host has is refused', () => {
    const many = (count: number): Record<string, null> =>
      Object.fromEntries(Array.from({ length: count }, (_, at) => [`p${at}`, null]));
    const machines = Array.from({ length: 1025 }, () => ({ name: 'pc' }));
    const compat = Array.from({ length: 1025 }, () => ({ driver: 'a', property: 'b', value: 'c' }));
    for (const qemus of [
      Array.from({ length: 65 }, () => qemu),
      [{ ...qemu, machines }],
      [{ ...qemu, machines: [{ name: 'pc', compat }] }],
      [{ ...qemu, devices: many(4097) }],
      [{ ...qemu, devices: { a: many(1025) } }],
    ]) {
      let code: unknown;
      try {
        parseHostFacts(written({ kernel: '6.1', qemus }));
      } catch (error) {
        code = isStateError(error) ? error.code : error;
      }
      expect(code).toBe('limit');
    }
  });
});
