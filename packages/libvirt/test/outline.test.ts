import { isStateError } from '@virtkit/vmstate';
import { expect, test } from 'vitest';
import { describeQm, describeVmi, isShownCommand } from '../src/index.ts';

const vmi = `apiVersion: kubevirt.io/v1
kind: VirtualMachineInstance
metadata: { name: web }
spec:
  domain:
    cpu: { cores: 2, sockets: 2 }
    machine: { type: q35 }
    memory: { guest: 1Gi }
    devices:
      blockMultiQueue: true
      networkInterfaceMultiqueue: true
      disks: [{ name: root, disk: { bus: virtio } }]
status:
  machine: { type: pc-q35-rhel9.6.0 }
`;

const codeOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (isStateError(error)) return error.code;
    throw error;
  }
  return 'fine';
};

test("KubeVirt's object says machine, memory, processors and queues", () => {
  const outline = describeVmi(vmi);
  expect(outline).toMatchObject({
    name: 'web',
    machine: 'pc-q35-rhel9.6.0',
    memoryBytes: 2 ** 30,
    cpus: 4,
    // none is named, and the network of pods has one
    cards: 1,
    unknown: [],
  });
  const withCards = (devices: string): number =>
    describeVmi(`kind: VirtualMachineInstance\nspec: { domain: { devices: ${devices} } }`).cards;
  expect(withCards('{ interfaces: [{ model: virtio }, {}, { model: e1000e }] }')).toBe(2);
  expect(withCards('{ autoattachPodInterface: false }')).toBe(0);
  expect(outline.devices.map(({ driver, properties }) => [driver, Object.fromEntries(properties)])).toEqual([
    ['virtio-blk-pci', { 'num-queues': '4' }],
    ['virtio-net-pci', { mq: 'on', vectors: '10' }],
  ]);
});

test('a template without a machine type of a version leaves that open', () => {
  const text = `{"kind":"VirtualMachine","spec":{"template":{"spec":{"domain":{"machine":{"type":"q35"},"memory":{"guest":"2G","maxGuest":"4G"}}}}}}`;
  expect(describeVmi(text)).toMatchObject({
    machine: undefined,
    memoryBytes: undefined,
    cpus: 1,
    unknown: [expect.stringMatching(/status\.machine\.type/)],
  });
  const requests = vmi.replace('memory: { guest: 1Gi }', 'resources: { requests: { memory: 512M } }');
  expect(describeVmi(requests).memoryBytes).toBe(512_000_000);
});

test('what is no such object, or YAML that would grow, is refused', () => {
  for (const text of ['', 'kind: Pod', 'a: [', '- 1', 'text'])
    expect(
      codeOf(() => describeVmi(text)),
      text,
    ).toBe('yaml');
  const levels = Array.from({ length: 8 }, (_, n) => `l${n + 1}: &l${n + 1} [${`*l${n},`.repeat(9)}]`);
  expect(codeOf(() => describeVmi(`l0: &l0 [x]\n${levels.join('\n')}\n`))).toBe('yaml');
});

test('YAML that is nested deeper than a reader can follow is refused in words', () => {
  expect(() => describeVmi(`kind: ${'['.repeat(60_000)}`)).toThrow('it is nested too deep');
});

test('one of more than 1 MiB is refused, and YAML of more than 128 KiB or 100 anchors, aliases and tags', () => {
  expect(codeOf(() => describeVmi(vmi + '#'.repeat((1 << 17) - vmi.length)))).toBe('fine');
  expect(codeOf(() => describeVmi(vmi + '#'.repeat((1 << 17) - vmi.length + 1)))).toBe('limit');
  expect(codeOf(() => describeVmi(`${vmi}a: [${'!!str 1, '.repeat(100)}]`))).toBe('fine');
  expect(codeOf(() => describeVmi(`${vmi}a: [${'!!str 1, '.repeat(101)}]`))).toBe('limit');
  const json = `{"kind":"VirtualMachineInstance","metadata":{"name":"${'n'.repeat(1 << 18)}"}}`;
  expect(describeVmi(json).name).toHaveLength(1 << 18);
  expect(codeOf(() => describeVmi(' '.repeat((1 << 20) + 1)))).toBe('limit');
  expect(codeOf(() => describeQm(' '.repeat((1 << 20) + 1)))).toBe('limit');
});

test("Proxmox' configuration says machine, memory, processors and queues, and that it does not say all", () => {
  const conf = `agent: 1
cores: 2
machine: pc-q35-9.2+pve1
memory: 2048
name: web
net0: virtio=BC:24:11:00:00:01,bridge=vmbr0,queues=4
sockets: 2

[before]
cores: 8
memory: 1
`;
  const outline = describeQm(conf);
  expect(outline).toMatchObject({
    name: 'web',
    machine: 'pc-q35-9.2+pve1',
    memoryBytes: 2 ** 31,
    cpus: 4,
    cards: 1,
  });
  expect(outline.unknown).toEqual([expect.stringMatching(/qm showcmd VMID/)]);
  expect(outline.devices.map(({ properties }) => properties.get('vectors'))).toEqual(['10']);
  expect(describeQm('memory: 1\nnet0: model=virtio,bridge=vmbr0\nnet1: e1000=00:11:22:33:44:55').cards).toBe(
    1,
  );
  // two cards that differ
  expect(describeQm(`${conf.split('\n\n')[0]}\nnet1: virtio=BC:24:11:00:00:02`).devices).toEqual([]);
  expect(codeOf(() => describeQm('hello'))).toBe('qm');
  expect(isShownCommand(conf)).toBe(false);
  expect(isShownCommand("/usr/bin/kvm -id 100 -name 'web'")).toBe(true);
});

test('what stands in the place of a name or a number, and is none, is no crash', () => {
  const odd = '{ toString: 1, valueOf: 2 }';
  for (const place of ['name: web', 'cores: 2', 'guest: 1Gi', 'type: q35', 'VirtualMachineInstance'])
    expect(
      codeOf(() => describeVmi(vmi.replace(place, place.replace(/[^ ]+$/, odd)))),
      place,
    ).toMatch(/^(fine|yaml)$/);
  expect(describeVmi(vmi.replace('cores: 2', 'cores: two')).unknown).toEqual([
    "the object's number of cores is not understood",
  ]);
});

test('more processors or memory than numbers hold are not said', () => {
  const large = vmi.replace('cores: 2, sockets: 2', 'cores: 9007199254740991, sockets: 9007199254740991');
  expect(describeVmi(large)).toMatchObject({
    cpus: 1,
    unknown: [expect.stringMatching(/^no machine has 8\.1/)],
  });
  expect(describeVmi(vmi.replace('guest: 1Gi', `guest: ${'9'.repeat(400)}Ei`)).memoryBytes).toBeUndefined();
  const conf = describeQm('cores: 9007199254740991\nsockets: 9007199254740991\nmemory: 9007199254740991\n');
  expect(conf).toMatchObject({ cpus: 1, memoryBytes: undefined });
});

test('lines of spaces and long words take time that grows with their length', () => {
  const spaces = ' '.repeat((1 << 20) - 10);
  expect(describeQm(`name: a${spaces}x`).name).toHaveLength((1 << 20) - 8);
  expect(isShownCommand('qemu-system-'.repeat(1 << 16))).toBe(false);
});
