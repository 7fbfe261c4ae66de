import { setTimeout as sleep } from 'node:timers/promises';
import { type Step, virtioDevice } from '@virtkit/core';
import { blk } from '@virtkit/device-blk';
import { net } from '@virtkit/device-net';
import { parseStream, RamImage, StreamParser, StreamWriter } from '@virtkit/migration';
import { pci } from '@virtkit/transport-pci';
import { block, startGuest } from './guest.js';
import { diskBytes, Machine, RAM_BYTES } from './machine.js';

const REQUESTS = 12;
/** Names of the devices' sections, as QEMU has them: the place on the bus, and the type. */
const DISK_SECTION = '0000:00:02.0/virtio-blk';
const CARD_SECTION = '0000:00:03.0/virtio-net';
const a = new Machine(new Uint8Array(RAM_BYTES));

// --- the guest
const { disk, card, service, moveTo } = startGuest(a);
const writes = Array.from({ length: REQUESTS }, (_, n) => disk.write(8 * n, block(n)));
const sent = card.send(Buffer.from(`ffffffffffff52540000000188b5${'07'.repeat(50)}`, 'hex'));
await sleep(25);
service();
console.log(`guest: ${REQUESTS} writes submitted, ${disk.pending} not done; frame sent: ${sent.done}`);

// --- stop in the middle of it, and save: three layers call each other
a.disk.pause();
a.card.pause();
const blkOnPci = virtioDevice(pci, blk);
const netOnPci = virtioDevice(pci, net);
const steps: Step[] = [];
const state = a.disk.capture();
const diskBody = blkOnPci.encode(state, { onStep: (step) => steps.push(step) });
const cardBody = netOnPci.encode(a.card.capture());
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
  out.ramData(a.ram, at, at + 4096);
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
b.disk.restore(blkOnPci.decode(bodyOf(DISK_SECTION)));
b.card.restore(netOnPci.decode(bodyOf(CARD_SECTION)));
for (const message of a.bus.messages) b.bus.send(message.address, message.data); // interrupts under way
moveTo(b);
b.disk.resume();
b.card.resume();
console.log('second machine: loaded, checked, and running');

// --- the guest goes on
for (let turn = 0; turn < 200 && disk.pending > 0; turn++) {
  await sleep(2);
  service();
}
const done = writes.filter(({ status }) => status === 0).length;
const right = writes.every((_, n) => block(n).every((byte, i) => diskBytes.bytes[4096 * n + i] === byte));
console.log(
  `guest: ${done} of ${REQUESTS} writes done, data on the disk ${right ? 'right' : 'WRONG'}, interrupts ${disk.virtio.interrupts}`,
);
if (done !== REQUESTS || !right) process.exitCode = 1;
