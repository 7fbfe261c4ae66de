// By hand: random devices in a real QEMU, its stream loaded into another QEMU whose devices are a little different, and `check`
// asked before, `explain` about what QEMU said. The target's command line is written in forms taken at random. Prints each load over which they disagree, each log without a cause, and counts.
//
//   node --import tsx --conditions=@virtkit/source test/load-run.ts [--count 100] [--seed 1]
//
// VIRTKIT_QEMU_ROOTS=dir:dir: QEMUs of other Debian releases, in chroots.
import { parseArgs } from 'node:util';
import { blk } from '@virtkit/device-blk';
import { net } from '@virtkit/device-net';
import { otherDevices } from '@virtkit/device-states';
import { findQemus, type QemuBinary, type QemuOptions, withQemu } from '@virtkit/lab';
import { acceptVirtio, StreamCollector, StreamParser } from '@virtkit/migration';
import { ccw } from '@virtkit/transport-ccw';
import { mmio } from '@virtkit/transport-mmio';
import { pci } from '@virtkit/transport-pci';
import { checkStream, explain, parseTarget } from '../src/index.ts';
import { disguised } from './disguise.ts';

const registry = { transports: [pci, ccw, mmio], devices: [net, blk, ...otherDevices] };
const { values } = parseArgs({
  options: { count: { type: 'string', default: '100' }, seed: { type: 'string', default: '1' } },
});

let state = Number(values.seed) >>> 0;
function below(count: number): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * count);
}
function pick<T>(list: readonly T[]): T {
  return list[below(list.length)] as T;
}

const binaries = findQemus('x86_64');

type Properties = ReadonlyMap<string, string>;
const BLK: Readonly<Record<string, readonly string[]>> = {
  'num-queues': ['1', '2', '4'],
  'queue-size': ['64', '128', '256', '1024'],
  'config-wce': ['off'],
  discard: ['off'],
  'write-zeroes': ['off'],
  packed: ['on'],
  'disable-modern': ['on'],
  'disable-legacy': ['on', 'off'],
  vectors: ['0', '2', '3', '6'],
  'page-per-vq': ['on'],
  event_idx: ['off'],
  indirect_desc: ['off'],
  'seg-max-adjust': ['off'],
  logical_block_size: ['4096'],
  'max-discard-sectors': ['2048'],
  'write-cache': ['off', 'on'],
  'modern-pio-notify': ['on'],
  queue_reset: ['off'],
  serial: ['abc'],
  'x-ats-page-aligned': ['off'],
  notify_on_empty: ['off'],
  any_layout: ['off'],
};
const NET: Readonly<Record<string, readonly string[]>> = {
  vectors: ['0', '2', '4'],
  mrg_rxbuf: ['off'],
  ctrl_vlan: ['off'],
  ctrl_rx: ['off'],
  ctrl_rx_extra: ['off'],
  ctrl_mac_addr: ['off'],
  ctrl_guest_offloads: ['off'],
  guest_announce: ['off'],
  ctrl_vq: ['off'],
  status: ['off'],
  mq: ['on'],
  host_mtu: ['1400'],
  speed: ['1000'],
  duplex: ['full'],
  rx_queue_size: ['512', '1024'],
  mac: ['52:54:00:01:02:03'],
  packed: ['on'],
  'disable-modern': ['on'],
  'disable-legacy': ['on', 'off'],
  event_idx: ['off'],
  romfile: [''],
  rss: ['on'],
  hash: ['on'],
  failover: ['on'],
  guest_rsc_ext: ['on'],
  'page-per-vq': ['on'],
  csum: ['off'],
};

interface Setup {
  readonly machine: string;
  readonly memoryMiB: number;
  readonly disk: number;
  readonly blk: Properties;
  readonly net: Properties;
  readonly place: string;
}

function properties(pool: Readonly<Record<string, readonly string[]>>, most: number): Map<string, string> {
  const map = new Map<string, string>();
  for (let n = below(most + 1); n > 0; n--) {
    const name = pick(Object.keys(pool));
    map.set(name, pick(pool[name] ?? ['on']));
  }
  return map;
}

function randomSetup(): Setup {
  return {
    machine: pick([
      'pc-i440fx-2.4',
      'pc-q35-2.12',
      'pc-i440fx-3.1',
      'pc-q35-4.2',
      'pc-i440fx-5.2',
      'pc-q35-5.2',
      'pc-i440fx-6.2',
      'pc-i440fx-7.2',
      'pc-q35-6.0',
      'pc-q35-7.1',
      'pc-q35-7.2',
    ]),
    memoryMiB: 64,
    disk: 64,
    blk: properties(BLK, 3),
    net: properties(NET, 3),
    place: pick(['', 'addr=0x7']),
  };
}

/** Something else, or nothing. */
function changed(setup: Setup): Setup {
  const other = (map: Properties, pool: Readonly<Record<string, readonly string[]>>): Properties => {
    const next = new Map(map);
    const name = pick([...map.keys(), pick(Object.keys(pool)), pick(Object.keys(pool))]);
    if (next.has(name) && below(2) === 0) next.delete(name);
    else next.set(name, pick(pool[name] ?? ['on']));
    return next;
  };
  switch (below(10)) {
    case 0:
      return setup;
    case 1:
      return { ...setup, machine: randomSetup().machine };
    case 2:
      return { ...setup, disk: pick([32, 128]) };
    case 3:
      return { ...setup, place: setup.place === '' ? 'addr=0x7' : '' };
    case 4:
    case 5:
    case 6:
      return { ...setup, net: other(setup.net, NET) };
    default:
      return { ...setup, blk: other(setup.blk, BLK) };
  }
}

function words(map: Properties): string {
  return [...map].map(([name, value]) => `,${name}=${value}`).join('');
}

function optionsOf(setup: Setup, binary: QemuBinary, more: Partial<QemuOptions>): QemuOptions {
  const place = setup.place === '' ? '' : `,${setup.place}`;
  return {
    ...{ arch: 'x86_64', binary, machine: setup.machine, memoryMiB: setup.memoryMiB, paused: true },
    args: [
      ...['-blockdev', `driver=null-co,size=${setup.disk << 20},read-zeroes=on,node-name=d0`],
      ...['-device', `virtio-blk-pci,drive=d0${place}${words(setup.blk)}`],
      ...['-netdev', 'user,id=n0,restrict=on'],
      ...['-device', `virtio-net-pci,netdev=n0${words(setup.net)}`],
    ],
    ...more,
  };
}

let loads = 0;
let disagreed = 0;
let unsure = 0;
let refusals = 0;
let unexplained = 0;
for (let round = 0; round < Number(values.count); round++) {
  const [from, to] = [pick([...binaries.keys()]), pick([...binaries.keys()])];
  const [source, target] = [binaries.get(from), binaries.get(to)];
  if (source === undefined || target === undefined) continue;
  const setup = randomSetup();
  const there = changed(setup);
  // what QEMU does not start with is no load
  const stream = await withQemu(optionsOf(setup, source, {}), (vm) => vm.migrate()).catch(() => undefined);
  if (stream === undefined) continue;
  const plain = optionsOf(there, target, { incoming: true });
  const result = await withQemu({ ...plain, args: disguised(plain.args ?? [], below) }, async (vm) => ({
    loaded: await vm.load(stream),
    commandLine: vm.commandLine,
  })).catch(() => undefined);
  if (result === undefined) continue;
  loads++;
  if (!result.loaded.ok) {
    refusals++;
    if (!explain(result.loaded.error).some(({ role }) => role === 'cause')) {
      unexplained++;
      console.log(`\nno cause found in:\n${result.loaded.error}`);
    }
  }
  const collector = new StreamCollector();
  const parser = new StreamParser(collector, { accepts: acceptVirtio(registry) });
  parser.push(stream);
  parser.end();
  const commandLine = JSON.stringify(result.commandLine);
  const verdicts = checkStream(
    collector.partial(),
    parseTarget(`qemu-${to},capabilities=x-ignore-shared`, { commandLine }),
    registry,
  );
  const refused = verdicts.filter(({ severity }) => severity === 'refused');
  const depends = verdicts.filter(({ severity }) => severity === 'depends' || severity === 'unknown');
  if (depends.length > 0 && refused.length === 0) {
    unsure++;
    continue;
  }
  if (result.loaded.ok === (refused.length === 0)) continue;
  disagreed++;
  console.log(
    `\n${from} → ${to}: QEMU ${result.loaded.ok ? 'loads' : 'refuses'}, check ${refused.length === 0 ? 'says it loads' : 'refuses'}`,
  );
  console.log(
    `  source: ${optionsOf(setup, source, {}).machine} ${optionsOf(setup, source, {}).args?.join(' ')}`,
  );
  console.log(`  target: ${result.commandLine.join(' ')}`);
  if (!result.loaded.ok) console.log(`  QEMU: ${result.loaded.error.replaceAll('\n', '\n        ')}`);
  for (const { path, reason } of refused) console.log(`  check: ${path}: ${reason}`);
}
console.log(
  `\n${loads} loads, ${refusals} refused by QEMU, ${disagreed} disagreements, ${unsure} answers where check says "depends" or cannot say, ${unexplained} logs that explain finds no cause in`,
);
