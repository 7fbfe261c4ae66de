import type { QemuDevice } from '@virtkit/core/qemu';
import type { Destination } from './destination.ts';
import { isLookedAt } from './known-properties.ts';
import { otherDevice } from './other-devices.ts';
import { busKind } from './qemu-types.ts';

/** Answers of a QEMU that was started with a command line and stopped. */
export interface AskedQemu {
  /** Type of the machine, of `qom-get /machine type`: `pc-q35-7.2-machine`. */
  readonly type: string;
  /** Number of CPUs, of `query-cpus-fast`. */
  readonly cpus: number;
  /** Text of `info qtree`. */
  readonly tree: string;
  /** Text of `info ramblock`. */
  readonly blocks: string;
}

interface Node {
  readonly indent: number;
  readonly kind: 'bus' | 'dev';
  /** Name of a bus, or type of a device. */
  readonly name: string;
  readonly id: string;
  readonly values: Map<string, string>;
  readonly parent: Node | undefined;
}

/**
 * Makes the destination as the QEMU made it, in place of what was read from its command line. What stands behind the
 * devices is still from there: networks, drives that are read-only, and properties that were given.
 */
export function askedDestination(parsed: Destination, asked: AskedQemu): Destination {
  const nodes = nodesOf(asked.tree);
  const inTree = nodes.flatMap((node) => deviceOf(node, nodes, parsed) ?? []);
  const drivers = new Set(inTree.map(({ driver }) => driver));
  // the tree has no device that is on no bus
  const onNone = parsed.devices.filter(
    ({ driver }) => otherDevice(driver)?.bus === 'none' && !drivers.has(driver),
  );
  const devices = [...inTree, ...onNone];
  return {
    ...parsed,
    machine: asked.type.replace(/-machine$/, ''),
    cpus: asked.cpus,
    devices,
    placed: true,
    ramBlocks: blocksOf(asked.blocks),
    // the devices are known now, whatever made them
    unknown: parsed.unasked ?? [],
  };
}

const LINE =
  /^( *)(?:(bus): (\S+)|(dev): ([^,]+), id "([^"]*)"|([\w-]+) = (.*)|(type) (\S+)|(mmio) ([0-9a-f]{16})\/\S*|addr \d+\.\d+, (port) ([\d.]+),)/;

function nodesOf(tree: string): Node[] {
  const nodes: Node[] = [];
  let at: Node | undefined;
  for (const line of tree.split(/\r?\n/)) {
    const [, spaces, bus, busName, dev, type, id, key, value, isType, busType, mmio, base, isPort, port] =
      LINE.exec(line) ?? [];
    if (spaces === undefined) continue;
    while (at !== undefined && at.indent >= spaces.length) at = at.parent;
    if (bus !== undefined || dev !== undefined) {
      at = {
        indent: spaces.length,
        kind: bus === undefined ? 'dev' : 'bus',
        name: busName ?? type ?? '',
        id: id ?? '',
        values: new Map(),
        parent: at,
      };
      nodes.push(at);
    } else if (key !== undefined) at?.values.set(key, plain(value ?? ''));
    else if (isType !== undefined) at?.values.set('type', busType ?? '');
    else if (mmio !== undefined) at?.values.set('mmio', base ?? '');
    else if (isPort !== undefined) at?.values.set(PORT, port ?? '');
  }
  return nodes;
}

/** Key under which the port of a USB device is kept; `port` is the property, which may say nothing. */
const PORT = 'port in use';

/** Turns a value of `info qtree` (`"auto"`, `2 (0x2)`, `true`) into what a command line would have. */
function plain(value: string): string {
  const text = /^"(.*)"$/.exec(value)?.[1] ?? value.replace(/ \(.*\)$/, '');
  return text === 'true' ? 'on' : text === 'false' ? 'off' : text;
}

/** Values of `info qtree` that stand for a property that is not set. */
const UNSAID = new Set(['', '<null>', '<unset>', '-1', '4294967295']);

/** Properties of ports, bridges and controllers that are not virtio, on which their state depends. Of the others, those that were given count. */
const OF_OTHERS: ReadonlySet<string> = new Set([
  'multifunction',
  'port',
  'slot',
  'hotplug',
  'shpc',
  'p2',
  'p3',
]);

function deviceOf(node: Node, nodes: readonly Node[], parsed: Destination): QemuDevice | undefined {
  if (node.kind !== 'dev') return undefined;
  const kind = busKind(node.name);
  const place = placeOf(node, nodes);
  const { parent } = node;
  if (kind === 'serial') {
    const console = parent?.parent;
    // a proxy stands around the console itself
    const within = console === undefined ? undefined : placeOf(outermost(console), nodes);
    return { driver: node.name, properties: node.values, ...(within !== undefined && { within }) };
  }
  if (kind === 'virtio' && parent?.values.get('type') !== 'virtio-mmio-bus') return undefined;
  // of the other devices without a place, those count of which a stream has a section
  if (place === undefined && otherDevice(node.name)?.bus !== 'none') return undefined;
  const before =
    place === undefined
      ? undefined
      : parsed.devices.find((each) => each.place === place && each.driver === node.name);
  const inside = nodes.filter(
    (each) => each.kind === 'dev' && each.parent?.kind === 'bus' && each.parent.parent === node,
  );
  const own = kind === 'virtio' ? (parent?.parent?.values ?? []) : [];
  const all = new Map([
    ...own,
    ...node.values,
    ...inside.flatMap(({ name, values }) => (busKind(name) === 'virtio' ? [...values] : [])),
  ]);
  const isVirtio = /^(virtio|vhost)/.test(node.name);
  const properties = new Map(
    [...all].filter(
      ([key, value]) =>
        (isVirtio ? isLookedAt(key) : OF_OTHERS.has(key) || before?.properties.has(key) === true) &&
        !UNSAID.has(value) &&
        !(key === 'host_mtu' && value === '0'),
    ),
  );
  if (node.id !== '') properties.set('id', node.id);
  // what was said, and is not known here, stays said
  for (const [key, value] of before?.properties ?? []) if (!all.has(key)) properties.set(key, value);
  for (const key of before?.properties.keys() ?? [])
    if (!isLookedAt(key)) properties.set(key, all.get(key) ?? '');
  // the network at hand has one queue, and its card the vectors for that
  if ((before?.network?.queues ?? 1) > 1 && before?.properties.has('vectors') !== true)
    properties.delete('vectors');
  return {
    ...before,
    driver: node.name,
    properties,
    ...(place !== undefined && { place }),
    express: parent?.values.get('type') === 'PCIE' && parent.parent?.parent?.name !== 'main-system-bus',
  };
}

function outermost(node: Node): Node {
  const proxy = node.parent?.parent;
  return proxy !== undefined && node.parent?.values.get('type')?.startsWith('virtio-') === true
    ? proxy
    : node;
}

function placeOf(node: Node, nodes: readonly Node[]): string | undefined {
  const { parent, values } = node;
  const bus = parent?.values.get('type');
  const address = values.get('addr');
  if (/^(PCI|PCIE|pxb-.*)$/i.test(bus ?? '') && address !== undefined && parent !== undefined)
    return `${prefixOf(parent, nodes)}:${address}`;
  const inner = bus === 'usb-bus' ? values.get(PORT) : bus === 'SCSI' ? scsiAddress(values) : undefined;
  if (inner !== undefined) {
    const controller = parent?.parent;
    const prefix = controller === undefined ? undefined : placeOf(outermost(controller), nodes);
    return prefix === undefined ? inner : `${prefix}/${inner}`;
  }
  const number = values.get('dev_id');
  if (bus === 'virtual-css-bus' && number !== undefined) return `/${number}`;
  const base =
    bus === 'virtio-mmio-bus'
      ? parent?.parent?.values.get('mmio')
      : node.name === 'virtio-mmio'
        ? values.get('mmio')
        : undefined;
  return base === undefined ? undefined : `virtio-mmio@${base}`;
}

function scsiAddress(values: ReadonlyMap<string, string>): string {
  return ['channel', 'scsi-id', 'lun'].map((key) => values.get(key) ?? '0').join(':');
}

/** Finds the text with which the paths of devices on a PCI bus begin: `0000:00`. */
function prefixOf(bus: Node, nodes: readonly Node[]): string {
  const bridge = bus.parent;
  if (bridge?.values.has('addr') === true) return placeOf(bridge, nodes) ?? '';
  if (bridge?.name !== 'pxb-host') return '0000:00';
  const expander = nodes.find(({ kind, name, id }) => kind === 'dev' && /^pxb/.test(name) && id === bus.name);
  const number = Number(expander?.values.get('bus_nr') ?? 0);
  return `0000:${number.toString(16).padStart(2, '0')}:${expander?.values.get('addr') ?? '00.0'}`;
}

/** Reads the blocks of `info ramblock` by name: bytes in use, and the largest size in bytes. */
function blocksOf(text: string): ReadonlyMap<string, { readonly used: number; readonly most: number }> {
  const rows = [...text.matchAll(/^\s*(\S.*?)\s+\d+ [KMG]iB\s+0x[0-9a-f]+ 0x([0-9a-f]+) 0x([0-9a-f]+)/gm)];
  return new Map(
    rows.map(([, name = '', used = '', most = '']) => [
      name,
      { used: Number.parseInt(used, 16), most: Number.parseInt(most, 16) },
    ]),
  );
}
