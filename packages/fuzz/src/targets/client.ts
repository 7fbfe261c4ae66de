// A client of vfio-user that says anything: commands, file descriptors, interrupts, and memory that it changes and takes away.
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { PeerError } from '@virtkit/linux';
import { VfioUserDevice } from '../../../vfio-user/src/device.ts';
import { Session } from '../../../vfio-user/src/session/session.ts';
import {
  COMMAND,
  DESCRIPTORS_MAX,
  FLAG,
  HEADER_BYTES,
  IRQ,
  IRQ_TYPES,
  REGION,
  REGIONS,
  SET_IRQS,
} from '../../../vfio-user/src/wire/commands.ts';
import { type Message, MessageReader } from '../../../vfio-user/src/wire/reader.ts';
import { demand, type FuzzTarget } from '../target.ts';
import { FILE_BYTES, Files, fields, type Rehearsal } from './descriptors.ts';

const LENGTH_MAX = 4096;
const QUEUES = 2;
/** Offset in the file of the used ring of the guest that works. */
const USED = 0x3000;
/** Byte that a record begins with for a kick; others are the number of a message's descriptors. */
const KICK = 0xf0;
const POKE = 0xf1;

/** One client after the other: each ends at its first mistake, and the next one says what is left of the input. */
export const client: FuzzTarget = {
  name: 'vfio-user',
  about:
    'clients of vfio-user: each command has one reply or ends the connection, every descriptor is closed, and the next client finds a function that was reset',
  lengthMax: LENGTH_MAX,
  run: (input) => {
    const files = new Files();
    const device = deviceOver(files);
    const fresh = configurationOf(device);
    for (let at = 0; at < input.length; ) {
      const next = serveOne(files, device, input, at);
      demand(files.open.size === 0, `${files.open.size} descriptors are left open`);
      demand(device.device.status === 0 && device.memory.count === 0, 'something of a client is left');
      demand(device.memory.unreachableBytes === 0, 'regions without a file are left');
      demand(configurationOf(device) === fresh, 'the configuration space is not as it was');
      demand(next > at, 'nothing was read');
      at = next;
    }
  },
  seeds: function* seeds() {
    yield working();
    for (const command of Object.values(COMMAND))
      yield join(version(), record(command, new Uint8Array(32), 0));
  },
};

function configurationOf({ pci }: VfioUserDevice): string {
  return Array.from({ length: 64 }, (_, word) => pci.configRead(4 * word, 4)).join();
}

function deviceOver(files: Files): VfioUserDevice {
  return new VfioUserDevice(new BlkDevice({ backend: memoryDisk(1 << 16), queues: QUEUES }), files, {});
}

/** Plays a client from a place of the input on; answers where it ended. */
function serveOne(files: Files, device: VfioUserDevice, input: Uint8Array, from: number): number {
  const reader = new MessageReader();
  const replies: DataView[] = [];
  const session = new Session(device, files, {
    send: (message) => void replies.push(new DataView(message.slice().buffer)),
    refused: () => {},
  });
  let at = from;
  try {
    while (at < input.length) {
      const word = input[at++] ?? 0;
      if (word === KICK) files.kick(input[at++] ?? 0);
      else if (word === POKE) {
        files.bytes[((input[at] ?? 0) << 8) | (input[at + 1] ?? 0)] = input[at + 2] ?? 0;
        at += 3;
      } else {
        // its pieces, with descriptors at the first of them
        let descriptors = Array.from({ length: word % (DESCRIPTORS_MAX + 2) }, () => files.hand());
        for (let more = true; more; ) {
          const piece = input.subarray(at, at + reader.room.length);
          if (piece.length === 0) {
            for (const fd of descriptors) files.close(fd);
            break;
          }
          reader.room.set(piece);
          at += piece.length;
          more = !reader.took(piece.length, descriptors);
          descriptors = [];
          if (more) continue;
          replies.length = 0;
          session.handle(reader, reader.takeDescriptors());
          checkReplies(reader, replies);
        }
      }
    }
  } catch (error) {
    if (!(error instanceof PeerError)) throw error;
  } finally {
    for (const fd of reader.takeDescriptors()) files.close(fd);
    session.close();
  }
  return at;
}

/** A command that does not end the connection has one reply, of its own number, as long as it says, unless none is wanted. */
function checkReplies({ id, command, noReply }: Message, replies: readonly DataView[]): void {
  demand(replies.length === (noReply ? 0 : 1), `${replies.length} replies to command ${command}`);
  for (const reply of replies) {
    demand(reply.getUint16(0, true) === id && reply.getUint16(2, true) === command, 'a reply to another one');
    demand(reply.getUint32(4, true) === reply.byteLength, 'the length of a reply');
    const [flags, error] = [reply.getUint32(8, true), reply.getUint32(12, true)];
    demand((flags & FLAG.TYPE) === FLAG.REPLY, 'the type of a reply');
    demand(((flags & FLAG.ERROR) !== 0) === (error !== 0), 'an error without a number, or a number without');
  }
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(parts.flatMap((bytes) => [...bytes]));
}

function record(command: number, payload: Uint8Array, descriptors: number, flags = 0): Uint8Array {
  const header = fields(1 | (command << 16), HEADER_BYTES + payload.length, flags, 0);
  return join(Uint8Array.of(descriptors), header, payload);
}

function version(): Uint8Array {
  const text = '{"capabilities":{"write_multiple":true}}\0';
  return record(COMMAND.VERSION, join(fields(0), new TextEncoder().encode(text)), 0);
}

/** Result of a client that does everything right: one that ends early would leave the fuzzer in front of the door. */
export function rehearsal(): Rehearsal {
  const files = new Files();
  const input = working();
  const read = serveOne(files, deviceOver(files), input, 0);
  return { length: input.length, read, usedIdx: files.bytes[USED + 2] ?? 0 };
}

/** A client that does everything right, with a request of its guest. */
function working(): Uint8Array {
  const access = (region: number, offset: number, count: number): Uint8Array =>
    fields(BigInt(offset), region, count);
  const write = (region: number, offset: number, ...bytes: readonly number[]): Uint8Array =>
    record(COMMAND.REGION_WRITE, join(access(region, offset, bytes.length), Uint8Array.from(bytes)), 0);
  const irqs = (index: number, flags: number, count: number, descriptors: number): Uint8Array =>
    record(COMMAND.DEVICE_SET_IRQS, fields(20, flags, index, 0, count), descriptors);
  const poke = (at: number, value: number): Uint8Array => Uint8Array.of(POKE, at >> 8, at & 0xff, value);
  const info = (command: number, count: number, words: number): Uint8Array[] =>
    Array.from({ length: count }, (_, index) =>
      record(command, fields(4 * words, 0, index, ...new Array<number>(words - 3).fill(0)), 0),
    );
  // the common structure lies at the beginning of BAR 4
  const common = (offset: number, ...bytes: readonly number[]): Uint8Array => write(4, offset, ...bytes);
  return join(
    version(),
    record(COMMAND.DEVICE_GET_INFO, fields(16, 0, 0, 0), 0),
    ...info(COMMAND.DEVICE_GET_REGION_INFO, REGIONS, 8),
    ...info(COMMAND.DEVICE_GET_IRQ_INFO, IRQ_TYPES, 4),
    record(COMMAND.REGION_READ, access(REGION.CONFIG, 0, 256), 0),
    record(COMMAND.DMA_MAP, fields(32, 3, 0n, 0n, BigInt(FILE_BYTES)), 1),
    irqs(IRQ.MSIX, SET_IRQS.DATA_EVENTFD | SET_IRQS.TRIGGER, 2, 2),
    irqs(IRQ.INTX, SET_IRQS.DATA_EVENTFD | SET_IRQS.TRIGGER, 1, 1),
    irqs(IRQ.INTX, SET_IRQS.DATA_EVENTFD | SET_IRQS.UNMASK, 1, 1),
    write(REGION.CONFIG, 4, 6, 0),
    ...[common(20, 1), common(20, 3), common(8, 1, 0, 0, 0), common(12, 1, 0, 0, 0), common(20, 11)],
    ...[common(22, 0, 0), common(24, 16, 0), common(32, 0, 0x10, 0, 0), common(40, 0, 0x20, 0, 0)],
    ...[common(48, 0, 0x30, 0, 0), common(28, 1, 0), common(20, 15)],
    // a descriptor of a status byte, and one of the header in front of it
    ...[poke(0x1001, 0x40), poke(0x1008, 16), poke(0x100c, 1), poke(0x100e, 1)],
    ...[poke(0x1011, 0x50), poke(0x1018, 1), poke(0x101c, 2), poke(0x2002, 1)],
    write(4, 0x3000, 0, 0),
    Uint8Array.of(KICK, 0),
    record(COMMAND.REGION_WRITE_MULTI, join(fields(1n), access(4, 0x3000, 2), fields(0n)), 0, FLAG.NO_REPLY),
    irqs(IRQ.INTX, SET_IRQS.DATA_NONE | SET_IRQS.MASK, 1, 0),
    record(COMMAND.DMA_UNMAP, fields(24, 0, 0n, BigInt(FILE_BYTES)), 0),
    record(COMMAND.DEVICE_RESET, new Uint8Array(0), 0),
  );
}
