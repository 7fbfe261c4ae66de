// A front end of vhost-user that says anything: messages, file descriptors, kicks, and memory that it changes and takes away.
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { PeerError } from '@virtkit/linux';
import { VhostUserDevice } from '../../../vhost-user/src/device.ts';
import { Session } from '../../../vhost-user/src/session/session.ts';
import { MessageReader } from '../../../vhost-user/src/wire/reader.ts';
import { DESCRIPTORS_MAX, HEADER_BYTES, REQUEST } from '../../../vhost-user/src/wire/requests.ts';
import { demand, type FuzzTarget } from '../target.ts';
import { FILE_BYTES, Files, fields, type Rehearsal } from './descriptors.ts';

const LENGTH_MAX = 4096;
const QUEUES = 2;
/** Offset in the file of the used ring of the guest that works. */
const USED = 0x3000;
/** Byte that a record begins with for a kick; others are the number of a message's descriptors. */
const KICK = 0xf0;
const POKE = 0xf1;

/** One front end after the other: each ends at its first mistake, and the next one says what is left of the input. */
export const frontEnd: FuzzTarget = {
  name: 'vhost-user',
  about:
    'front ends of vhost-user: every descriptor is closed, and the next one finds a device that was reset',
  lengthMax: LENGTH_MAX,
  run: async (input) => {
    const files = new Files();
    const device = deviceOver(files);
    for (let at = 0; at < input.length; ) {
      const next = await serveOne(files, device, input, at);
      demand(files.open.size === 0, `${files.open.size} descriptors are left open`);
      demand(device.device.status === 0 && device.memory.count === 0, 'something of a front end is left');
      demand(next > at, 'nothing was read');
      at = next;
    }
  },
  seeds: function* seeds() {
    yield working();
    for (const request of Object.values(REQUEST)) yield record(request, new Uint8Array(8), 0);
  },
};

function deviceOver(files: Files): VhostUserDevice {
  return new VhostUserDevice(new BlkDevice({ backend: memoryDisk(1 << 16), queues: QUEUES }), files, {});
}

/** Plays a front end from a place of the input on; answers where it ended. */
async function serveOne(
  files: Files,
  device: VhostUserDevice,
  input: Uint8Array,
  from: number,
): Promise<number> {
  const reader = new MessageReader();
  const session = new Session(device, files, { send: () => {}, sendTo: () => true });
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
          const arrived = reader.took(piece.length, descriptors);
          descriptors = [];
          if (arrived === undefined) continue;
          more = false;
          await session.handle(arrived.message, arrived.descriptors);
        }
      }
    }
  } catch (error) {
    if (!(error instanceof PeerError)) throw error;
  } finally {
    for (const fd of reader.abandon()) files.close(fd);
    session.close();
  }
  return at;
}

function record(request: number, payload: Uint8Array, descriptors: number): Uint8Array {
  const bytes = new Uint8Array(1 + HEADER_BYTES + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, descriptors);
  view.setUint32(1, request, true);
  view.setUint32(5, 1 | 8, true);
  view.setUint32(9, payload.length, true);
  bytes.set(payload, 1 + HEADER_BYTES);
  return bytes;
}

/** Result of a front end that does everything right: one that ends early would leave the fuzzer in front of the door. */
export async function rehearsal(): Promise<Rehearsal> {
  const files = new Files();
  const input = working();
  const read = await serveOne(files, deviceOver(files), input, 0);
  return { length: input.length, read, usedIdx: files.bytes[USED + 2] ?? 0 };
}

/** A front end that does everything right, with a request of its guest. */
function working(): Uint8Array {
  const user = 0x7000_0000n;
  const poke = (at: number, value: number): Uint8Array => Uint8Array.of(POKE, at >> 8, at & 0xff, value);
  const messages = [
    record(REQUEST.GET_FEATURES, new Uint8Array(0), 0),
    record(REQUEST.SET_PROTOCOL_FEATURES, fields(0x1b22bn), 0),
    record(REQUEST.SET_FEATURES, fields((1n << 32n) | (1n << 30n)), 0),
    record(REQUEST.SET_MEM_TABLE, fields(1, 0, 0n, BigInt(FILE_BYTES), user, 0n), 1),
    record(REQUEST.GET_INFLIGHT_FD, fields(0n, 0n, 2 | (16 << 16), 0), 0),
    record(REQUEST.SET_INFLIGHT_FD, fields(4096n, 0x8000n, 2 | (16 << 16), 0), 1),
    record(REQUEST.SET_VRING_NUM, fields(0, 16), 0),
    record(REQUEST.SET_VRING_BASE, fields(0, 0), 0),
    record(REQUEST.SET_VRING_ADDR, fields(0, 0, user + 0x1000n, user + 0x3000n, user + 0x2000n, 0x3000n), 0),
    record(REQUEST.SET_VRING_CALL, fields(0n), 1),
    record(REQUEST.SET_VRING_KICK, fields(0n), 1),
    record(REQUEST.SET_VRING_ENABLE, fields(0, 1), 0),
    // a descriptor of a status byte, and one of the header in front of it
    ...[poke(0x1000, 0), poke(0x1001, 0x40), poke(0x1008, 16), poke(0x100c, 1), poke(0x100e, 1)],
    ...[poke(0x1011, 0x50), poke(0x1018, 1), poke(0x101c, 2), poke(0x2002, 1)],
    Uint8Array.of(KICK, 0),
    record(REQUEST.SET_LOG_BASE, fields(4096n, 0n), 1),
    record(REQUEST.GET_CONFIG, fields(0, 60, 0), 0),
    record(REQUEST.GET_VRING_BASE, fields(0, 0), 0),
    record(REQUEST.SET_STATUS, fields(0n), 0),
    record(REQUEST.REM_MEM_REG, fields(0n, 0n, BigInt(FILE_BYTES), user, 0n), 0),
  ];
  return new Uint8Array(messages.flatMap((bytes) => [...bytes]));
}
