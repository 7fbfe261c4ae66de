import { setTimeout as sleep } from 'node:timers/promises';
import { type LiveDevice, MappedMemory, type Step, virtioDevice } from '@virtkit/core';
import { type BlkBackend, BlkDevice, blk, memoryDisk } from '@virtkit/device-blk';
import { NetDevice, net } from '@virtkit/device-net';
import { NetSwitch } from '@virtkit/device-net/switch';
import {
  decodeVirtio,
  findVirtio,
  parseStream,
  RamImage,
  StreamParser,
  StreamWriter,
} from '@virtkit/migration';
import {
  comparedRam,
  type LiveMachine,
  opaqueSection,
  portDuplex,
  receiveLive,
  sendLive,
  virtioSection,
} from '@virtkit/migration/live';
import { BlkDriver, GuestRam, NetDriver, PciBus, PciModernDriver } from '@virtkit/testing';
import { PciFunction, type PciParts, pci } from '@virtkit/transport-pci';

// A minimal emulator: memory, a PCI bus, a disk and a network card. There is no CPU: the guest is a driver in TypeScript that
// reaches the devices through their registers alone, as Linux does.

const RAM_BYTES = 4 << 20;
const DISK_SLOT = 2;
const CARD_SLOT = 3;
const REQUESTS = 12;

/** What outlives a machine: the disk's bytes, and the Ethernet. */
const diskBytes = memoryDisk(1 << 20);
const lan = new NetSwitch();

/** What the disk has begun and not done. */
const underWay = new Set<Promise<void>>();
const begin = (operation: Promise<void>): Promise<void> => {
  const tracked = operation.finally(() => underWay.delete(tracked));
  underWay.add(tracked);
  return tracked;
};

/** A disk that takes its time, the later request the more, so that some are under way when the machine stops. */
let asked = 0;
const slowDisk: BlkBackend = {
  size: diskBytes.size,
  read: (position, target, from, length) =>
    begin(
      sleep(5 * (1 + (asked++ % REQUESTS))).then(() => {
        target.copyFrom(from, diskBytes.bytes.subarray(position, position + length));
      }),
    ),
  write: (position, source, from, length) => {
    const block = new Uint8Array(length);
    source.copyTo(from, block, 0, length); // the guest's memory is ours until we return, no longer
    return begin(
      sleep(5 * (1 + (asked++ % REQUESTS))).then(() => {
        diskBytes.bytes.set(block, position);
      }),
    );
  },
};

class Machine {
  readonly ram: Uint8Array;
  readonly bus = new PciBus();
  /** What stops, saves and loads. */
  readonly disk: LiveDevice<PciParts, unknown>;
  readonly card: LiveDevice<PciParts, unknown>;

  constructor(ram: Uint8Array) {
    this.ram = ram;
    const memory = new MappedMemory([{ gpa: 0, bytes: ram }]);
    const plug = <D>(slot: number, model: ConstructorParameters<typeof PciFunction<D>>[0]) => {
      const fn = new PciFunction(model, {
        memory,
        sendMsi: (address, data) => this.bus.send(address, data),
        setIntx: (level) => this.bus.setIntx(slot, level),
      });
      this.bus.plug(slot, fn);
      return fn.device as LiveDevice<PciParts, unknown>;
    };
    this.disk = plug(DISK_SLOT, new BlkDevice({ backend: slowDisk, serial: 'example' }));
    this.card = plug(CARD_SLOT, new NetDevice({ backend: lan.port(), mac: '52:54:00:00:00:01' }));
  }
}

const a = new Machine(new Uint8Array(RAM_BYTES));
let here = a;

// --- the guest: it does not know that there are two machines
const guestRam = new GuestRam(a.ram);
const reach = () => here.bus;
const disk = new BlkDriver({ transport: new PciModernDriver(reach, { slot: DISK_SLOT }), ram: guestRam });
const card = new NetDriver({ transport: new PciModernDriver(reach, { slot: CARD_SLOT }), ram: guestRam });
disk.probe();
disk.start();
card.probe();
card.start();
console.log(`guest: a disk of ${disk.capacity} sectors, and a network card`);

const block = (n: number) => new Uint8Array(4096).fill(n + 1);
const writes = Array.from({ length: REQUESTS }, (_, n) => disk.write(8 * n, block(n)));
const frame = Uint8Array.from([
  0xff,
  0xff,
  0xff,
  0xff,
  0xff,
  0xff,
  0x52,
  0x54,
  0,
  0,
  0,
  1,
  0x88,
  0xb5,
  ...new Array(50).fill(7),
]);
const sent = card.send(frame);
await sleep(25);
disk.service();
card.service();
console.log(`guest: ${REQUESTS} writes submitted, ${disk.pending} not done; frame sent: ${sent.done}`);

// --- stop in the middle of it, and save: three layers call each other
here.disk.pause();
here.card.pause();
const blkOnPci = virtioDevice(pci, blk);
const netOnPci = virtioDevice(pci, net);
const steps: Step[] = [];
const state = here.disk.capture() as Parameters<typeof blkOnPci.encode>[0];
const diskBody = blkOnPci.encode(state, { onStep: (step) => steps.push(step) });
const cardBody = netOnPci.encode(here.card.capture() as Parameters<typeof netOnPci.encode>[0]);
console.log(
  `\n${state.device.requests.length} requests in flight are in the disk's state. How it was saved:\n`,
);
const COLUMNS = ['core', 'transport', 'device'] as const;
console.log(COLUMNS.map((name) => `virtio ${name}`.padEnd(34)).join(''));
for (const { column, action, start, end } of steps) {
  const text = `${action} (${end - start})`.slice(0, 66);
  console.log(`${' '.repeat(34 * COLUMNS.indexOf(column))}${text}`);
}

// --- a migration stream, as QEMU writes it: memory, then the devices
const chunks: Uint8Array[] = [];
const out = new StreamWriter((bytes, start, end) => chunks.push(bytes.slice(start, end)));
const ram = { id: 1, idstr: 'ram', instanceId: 0, versionId: 4, offset: 0 };
out.header(3);
out.configuration({ name: 'pc-example-7.2' });
out.section({ ...ram, kind: 'start' });
out.ramSize(BigInt(RAM_BYTES));
out.ramBlock({ name: 'ram', length: RAM_BYTES });
out.ramMark(0x10, 0);
out.footer(1);
out.section({ ...ram, kind: 'end' });
for (let at = 0; at < RAM_BYTES; at += 4096) {
  out.ramPage(0x08, at, 0);
  out.ramData(here.ram, at, at + 4096);
}
out.ramMark(0x10, 0);
out.footer(1);
const section = (id: number, idstr: string, versionId: number, body: Uint8Array) => {
  out.section({ kind: 'full', id, idstr, instanceId: 0, versionId, offset: 0 });
  out.body(body);
  out.footer(id);
};
section(2, '0000:00:02.0/virtio-blk', blk.version, diskBody);
section(3, '0000:00:03.0/virtio-net', net.version, cardBody);
out.eof();
const stream = Buffer.concat(chunks);
console.log(`\nstream: ${stream.length} bytes, in QEMU's format`);

// --- a second machine takes it over; the first is gone
const image = new RamImage();
const parser = new StreamParser(image);
parser.push(stream);
parser.end();
const memory = image.blocks.get('ram');
if (memory === undefined) throw new Error('the stream has no memory');
const b = new Machine(memory);
for (const each of parseStream(stream).sections) {
  const device = findVirtio(each, { transports: [pci], devices: [blk, net] });
  if (device === undefined) continue;
  const live: LiveDevice<PciParts, unknown> = device.name === 'virtio-blk' ? b.disk : b.card;
  live.restore(decodeVirtio(device).state as Parameters<typeof live.restore>[0]);
}
for (const message of here.bus.messages) b.bus.send(message.address, message.data); // interrupts under way
here = b;
guestRam.replace(memory);
b.disk.resume();
b.card.resume();
console.log('second machine: loaded, checked, and running');

// --- the guest goes on
for (let turn = 0; turn < 200 && disk.pending > 0; turn++) {
  await sleep(2);
  disk.service();
  card.service();
}
const done = writes.filter(({ status }) => status === 0).length;
const right = writes.every((_, n) => block(n).every((byte, i) => diskBytes.bytes[4096 * n + i] === byte));
console.log(
  `guest: ${done} of ${REQUESTS} writes done, data on the disk ${right ? 'right' : 'WRONG'}, interrupts ${disk.virtio.interrupts}`,
);
if (done !== REQUESTS || !right) process.exitCode = 1;

// --- and once more, live: to a third machine, while the guest works. This could as well be a socket, or a WebRTC channel
function liveMachine(machine: Machine): LiveMachine {
  const { ram, bus, disk: diskDevice, card: cardDevice } = machine;
  return {
    name: 'example-1.0',
    // this machine has no log of what its guest writes
    ram: comparedRam([{ name: 'ram', length: ram.length, bytes: () => ram }]),
    sections: [
      virtioSection(diskDevice, { path: '0000:00:02.0' }),
      virtioSection(cardDevice, { path: '0000:00:03.0' }),
      // interrupts under way: what an interrupt controller has
      opaqueSection({
        name: 'example-messages',
        version: 1,
        save: () => Buffer.from(JSON.stringify(bus.messages)),
        load: (state) => {
          const messages = JSON.parse(Buffer.from(state).toString()) as typeof bus.messages;
          return () => {
            for (const message of messages) bus.send(message.address, message.data);
          };
        },
      }),
    ],
    pause: async () => {
      guestRuns = false;
      diskDevice.pause();
      cardDevice.pause();
      // nothing that was begun here may reach the disk after the other machine has begun
      await Promise.all(underWay);
    },
    resume: () => {
      here = machine;
      guestRam.replace(ram);
      diskDevice.resume();
      cardDevice.resume();
      guestRuns = true;
    },
  };
}

let guestRuns = true;
const c = new Machine(new Uint8Array(RAM_BYTES));
const more: { readonly sector: number; readonly request: ReturnType<typeof disk.write> }[] = [];
const working = setInterval(() => {
  if (!guestRuns) return;
  const n = more.length;
  if (n < 40 && disk.pending < 6) {
    const sector = 128 + 8 * n;
    more.push({ sector, request: disk.write(sector, block(sector)) });
  }
  disk.service();
  card.service();
}, 1);
await sleep(80);
const { port1, port2 } = new MessageChannel();
const [left, came] = await Promise.all([
  sendLive(portDuplex(port1), liveMachine(b), { downtimeLimitMs: 50 }),
  receiveLive(portDuplex(port2), liveMachine(c)),
]);
if (left.result === 'moved')
  console.log(
    `\nthird machine: ${came.result} after ${left.progress.round} rounds, ${left.progress.pages} pages and ${left.progress.zeroPages} of zeros; the guest stood still for ${left.downtimeMs.toFixed(0)} ms`,
  );
const before = more.filter(({ request }) => request.status === 0).length;
while (more.length < 40 || disk.pending > 0) await sleep(5);
clearInterval(working);
port1.close();
const all = more.every(
  ({ sector, request }) => request.status === 0 && diskBytes.bytes[512 * sector + 9] === block(sector)[9],
);
console.log(
  `guest: ${before} writes done when it had moved, ${more.length} at the end, data on the disk ${all ? 'right' : 'WRONG'}`,
);
if (left.result !== 'moved' || here !== c || !all) process.exitCode = 1;
