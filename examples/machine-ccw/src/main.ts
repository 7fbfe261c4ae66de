import { setTimeout as sleep } from 'node:timers/promises';
import { type LiveDevice, MappedMemory, type Step, virtioDevice } from '@virtkit/core';
import { type BlkBackend, BlkDevice, type BlkState, blk, memoryDisk } from '@virtkit/device-blk';
import { NetDevice, type NetState, net } from '@virtkit/device-net';
import { NetSwitch } from '@virtkit/device-net/switch';
import { parseStream, RamImage, StreamParser, StreamWriter } from '@virtkit/migration';
import { BlkDriver, CcwDriver, ChannelMachine, GuestRam, NetDriver } from '@virtkit/testing';
import { CcwDevice, type CcwParts, ChannelSubsystem, ccw } from '@virtkit/transport-ccw';

// A minimal mainframe: memory, a channel subsystem, a disk and a network card. There is no CPU: the guest is a driver in
// TypeScript that reaches the devices by channel programs and I/O instructions alone, as Linux does.

const RAM_BYTES = 4 << 20;
/** Device numbers; the subchannels are 0 and 1. */
const DISK = 0x0100;
const CARD = 0x0101;
const REQUESTS = 12;
/** Names of the devices' sections, as QEMU has them: the place on the bus, and the type. */
const DISK_SECTION = '/fe.0.0100/virtio-blk';
const CARD_SECTION = '/fe.0.0101/virtio-net';

/** What outlives a machine: the disk's bytes, and the Ethernet. */
const diskBytes = memoryDisk(1 << 20);
const lan = new NetSwitch();

/** A disk that takes its time, the later request the more, so that some are under way when the machine stops. */
let asked = 0;
const slowDisk: BlkBackend = {
  size: diskBytes.size,
  read: async (position, target, from, length) => {
    const block = new Uint8Array(length);
    await sleep(5 * ++asked);
    block.set(diskBytes.bytes.subarray(position, position + length));
    target.copyFrom(from, block);
  },
  write: async (position, source, from, length) => {
    const block = new Uint8Array(length);
    source.copyTo(from, block, 0, length); // the guest's memory is ours until we return, no longer
    await sleep(5 * ++asked);
    diskBytes.bytes.set(block, position);
  },
};

class Machine {
  readonly ram: Uint8Array;
  readonly css: ChannelSubsystem;
  readonly channel: ChannelMachine;
  /** What stops, saves and loads. */
  readonly disk: LiveDevice<CcwParts, BlkState>;
  readonly card: LiveDevice<CcwParts, NetState>;

  constructor(ram: Uint8Array) {
    this.ram = ram;
    const memory = new MappedMemory([{ gpa: 0, bytes: ram }]);
    const css = new ChannelSubsystem({ memory });
    this.css = css;
    this.channel = new ChannelMachine(css);
    const attach = <D>(devno: number, model: ConstructorParameters<typeof CcwDevice<D>>[0]) => {
      const device = new CcwDevice(model, { host: css, memory, devno });
      css.attach(device);
      return device.device;
    };
    this.disk = attach(DISK, new BlkDevice({ backend: slowDisk, serial: 'example' }));
    this.card = attach(CARD, new NetDevice({ backend: lan.port(), mac: '52:54:00:00:00:01' }));
  }
}

const a = new Machine(new Uint8Array(RAM_BYTES));
let here = a;

// --- the guest: it does not know that there are two machines
const guestRam = new GuestRam(a.ram);
const reach = () => here.channel;
const disk = new BlkDriver({
  transport: new CcwDriver(reach, guestRam, { schid: 0x10000 }),
  ram: guestRam,
});
const card = new NetDriver({
  transport: new CcwDriver(reach, guestRam, { schid: 0x10001 }),
  ram: guestRam,
});
disk.probe();
disk.start();
card.probe();
card.start();
console.log(`guest: a disk of ${disk.capacity} sectors, and a network card`);

const block = (n: number) => new Uint8Array(4096).fill(n + 1);
const writes = Array.from({ length: REQUESTS }, (_, n) => disk.write(8 * n, block(n)));
const sent = card.send(Buffer.from(`ffffffffffff52540000000188b5${'07'.repeat(50)}`, 'hex'));
await sleep(25);
disk.service();
card.service();
console.log(`guest: ${REQUESTS} writes submitted, ${disk.pending} not done; frame sent: ${sent.done}`);

// --- stop in the middle of it, and save: three layers call each other
here.disk.pause();
here.card.pause();
const blkOnCcw = virtioDevice(ccw, blk);
const netOnCcw = virtioDevice(ccw, net);
const steps: Step[] = [];
const state = here.disk.capture();
const diskBody = blkOnCcw.encode(state, { onStep: (step) => steps.push(step) });
const cardBody = netOnCcw.encode(here.card.capture());
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
out.configuration({ name: 's390-example-7.2' });
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
section(2, DISK_SECTION, blk.version, diskBody);
section(3, CARD_SECTION, net.version, cardBody);
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
const { sections } = parseStream(stream);
const bodyOf = (name: string) => {
  const found = sections.find(({ header }) => header.idstr === name);
  if (found === undefined) throw new Error(`the stream has no section ${name}`);
  return found.body;
};
b.disk.restore(blkOnCcw.decode(bodyOf(DISK_SECTION)));
b.card.restore(netOnCcw.decode(bodyOf(CARD_SECTION)));
b.css.restoreCss(here.css.captureCss());
b.css.interrupts.restore(here.css.interrupts.capture()); // those under way
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
