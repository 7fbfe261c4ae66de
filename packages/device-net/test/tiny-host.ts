// A guest of ours that is on the network: a driver's hand on a real network card, and as much of ARP, IP, ICMP, TCP and UDP as a Linux
// needs to find it and to exchange data with it. It leaves to the card what a driver may: checksums, segments, fragments.
import { GSO, HDR_FLAG, type NetBackend } from '@virtkit/device-net';
import { be16, be32, headBytes, type Ip, internetChecksum, ipFrame, tcpFrame, udpFrame } from './frames.ts';
import { Machine } from './machine.ts';

const RX_AT = 0x40000;
const RX_BYTES = 4096;
const RX_BUFFERS = 128;
const HEADER = 12;
const EVENT_IDX = 29;
const BROADCAST = Array(6).fill(0xff);
const FLAG = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16 } as const;
/** Bytes of a connection that may be under way. */
const IN_FLIGHT = 256 << 10;
const SUPER = 60_000;
const ALL = { csum: true, tso: true, ufo: true, uso: true };

interface Seen {
  readonly frame: Uint8Array;
  readonly mac: number[];
  /** The way back. */
  readonly ip: Ip;
  readonly protocol: number;
  readonly body: Uint8Array;
}

interface Connection {
  readonly ip: Ip;
  readonly ports: readonly number[];
  readonly mss: number;
  readonly scale: number;
  /** What it is sent, and up to where it was acknowledged and sent. */
  readonly out: Uint8Array | undefined;
  readonly sequence: number;
  acked: number;
  sent: number;
  window: number;
  expected: number;
  readonly received: Uint8Array[];
  closed: boolean;
}

const u16 = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
const u32 = (bytes: Uint8Array, at: number): number => u16(bytes, at) * 65536 + u16(bytes, at + 2);
const list = (bytes: Uint8Array, from: number, length: number): number[] => [
  ...bytes.subarray(from, from + length),
];

export interface TinyOptions {
  /** Last byte of the Ethernet address, of 10.0.x.y, and of fd00:x::y. */
  readonly host: number;
  readonly net: number;
  /** What a connection to this port is sent. Others are listened to. */
  readonly files?: Readonly<Record<number, Uint8Array>>;
  readonly inFlight?: number;
  /** What is there by TFTP. */
  readonly boot?: Readonly<Record<string, Uint8Array>>;
}

export class TinyHost {
  readonly machine: Machine;
  readonly mac: number[];
  readonly ipv4: number[];
  readonly ipv6: number[];
  /** What came over connections that were closed, by port. */
  readonly uploads = new Map<number, Uint8Array>();
  /** What is wrong with what came: there must be nothing. */
  readonly wrong: string[] = [];
  readonly #options: TinyOptions;
  readonly #connections = new Map<string, Connection>();
  readonly #files = new Map<
    string,
    { readonly file: Uint8Array; readonly block: number; readonly kind: number }
  >();
  readonly #waiting: { readonly frame: Uint8Array; readonly header: Uint8Array }[] = [];
  /** Receive buffers, by the heads of their chains. */
  readonly #buffers = new Map<number, number>();
  #due = false;
  #id = 1;
  pings = 0;

  constructor(backend: NetBackend, options: TinyOptions) {
    const { host, net } = options;
    this.#options = options;
    this.mac = [0x52, 0x54, 0, 9, net, host];
    this.ipv4 = [10, 0, net, host];
    this.ipv6 = [0xfd, 0, 0, net, ...Array(11).fill(0), host];
    // an interrupt for everything: this driver does not say when it wants one
    this.machine = new Machine({
      without: [EVENT_IDX],
      ram: new Uint8Array(8 << 20),
      net: { backend, mac: Uint8Array.from(this.mac), offloads: ALL },
    });
    for (let i = 0; i < RX_BUFFERS; i++) this.#offer(i);
    this.machine.driver.kick(0);
    this.machine.wire.listen = () => this.#serviceSoon();
    this.machine.wire.quiet = true;
  }

  #offer(index: number): void {
    const id = this.machine.add(0, [{ addr: RX_AT + index * RX_BYTES, len: RX_BYTES, write: true }]);
    this.#buffers.set(id, index);
  }
  #serviceSoon(): void {
    if (this.#due) return;
    this.#due = true;
    queueMicrotask(() => {
      this.#due = false;
      this.#service();
    });
  }

  #service(): void {
    const { machine } = this;
    const used = machine.used(0);
    for (let i = 0; i < used.length; ) {
      const pieces: Uint8Array[] = [];
      const first = RX_AT + (this.#buffers.get(used[i]?.id ?? 0) ?? 0) * RX_BYTES;
      const count = Math.max(1, (machine.ram[first + 10] ?? 0) | ((machine.ram[first + 11] ?? 0) << 8));
      for (const { id, len } of used.slice(i, i + count)) {
        const at = RX_AT + (this.#buffers.get(id) ?? 0) * RX_BYTES;
        pieces.push(machine.read(at, len));
      }
      i += count;
      this.#take(Uint8Array.from(Buffer.concat(pieces)).subarray(HEADER));
    }
    const free = used.map(({ id }) => this.#buffers.get(id) ?? 0);
    for (const index of free) this.#offer(index);
    if (used.length > 0) machine.driver.kick(0);
    this.#pump();
  }

  /** Sends what there is room for. */
  #pump(): void {
    const { machine } = this;
    machine.used(1);
    for (
      let next = this.#waiting[0];
      next !== undefined && machine.ring(1).free.length > 2;
      next = this.#waiting[0]
    ) {
      this.#waiting.shift();
      machine.transmit(next.frame, next.header);
      machine.used(1);
    }
  }

  /** @param start where the sum begins, with the checksum at `offset`; left out: the frame is complete */
  send(bytes: readonly number[], start?: number, offset = 0, gsoType = 0, gsoSize = 0): void {
    const header = new Uint8Array(HEADER);
    const view = new DataView(header.buffer);
    if (start !== undefined) {
      view.setUint8(0, HDR_FLAG.NEEDS_CSUM);
      view.setUint8(1, gsoType);
      view.setUint16(4, gsoSize, true);
      view.setUint16(6, start, true);
      view.setUint16(8, offset, true);
    }
    this.#waiting.push({ frame: Uint8Array.from(bytes), header });
    this.#serviceSoon();
  }

  #take(frame: Uint8Array): void {
    const type = u16(frame, 12);
    if (type === 0x0806) this.#arp(frame);
    else if (type === 0x0800) this.#ip4(frame);
    else if (type === 0x86dd) this.#ip6(frame);
  }

  #arp(frame: Uint8Array): void {
    if (u16(frame, 20) !== 1 || list(frame, 38, 4).join() !== this.ipv4.join()) return;
    const asker = list(frame, 22, 10);
    this.send([
      ...asker.slice(0, 6),
      ...this.mac,
      8,
      6,
      0,
      1,
      8,
      0,
      6,
      4,
      0,
      2,
      ...this.mac,
      ...this.ipv4,
      ...asker,
    ]);
  }

  /** Asks everybody who has an address: this is how others learn that we are here. */
  arp(address: readonly number[]): void {
    const rest = [...this.mac, ...this.ipv4, 0, 0, 0, 0, 0, 0, ...address];
    this.send([...BROADCAST, ...this.mac, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, ...rest]);
  }

  #ip4(frame: Uint8Array): void {
    const header = 4 * ((frame[14] ?? 0) & 15);
    if (list(frame, 30, 4).join() !== this.ipv4.join()) return;
    const dst = list(frame, 26, 4);
    const mac = list(frame, 6, 6);
    const body = frame.subarray(14 + header, 14 + u16(frame, 16));
    if (internetChecksum(list(frame, 14, header)) !== 0) this.wrong.push('IPv4 header checksum');
    if ((u16(frame, 20) & 0x3fff) !== 0) return;
    const ip: Ip = { version: 4, src: this.ipv4, dst, flags: 0x4000, macs: [...mac, ...this.mac] };
    this.#transport({ frame, mac, ip, protocol: frame[23] ?? 0, body });
  }

  #ip6(frame: Uint8Array): void {
    const mac = list(frame, 6, 6);
    const body = frame.subarray(54, 54 + u16(frame, 18));
    const ip: Ip = { version: 6, src: this.ipv6, dst: list(frame, 22, 16), macs: [...mac, ...this.mac] };
    if (frame[20] === 58 && body[0] === 135) {
      if (list(body, 8, 16).join() === this.ipv6.join()) this.#advertise(ip);
    } else if (list(frame, 38, 16).join() === this.ipv6.join())
      this.#transport({ frame, mac, ip, protocol: frame[20] ?? 0, body });
  }

  /** Neighbor Advertisement, RFC 4861 §4.4 */
  #advertise(ip: Ip): void {
    const start = [136, 0];
    const rest = [0x60, 0, 0, 0, ...this.ipv6, 2, 1, ...this.mac];
    const pseudo = [...ip.src, ...ip.dst, ...be32(4 + rest.length), 0, 0, 0, 58];
    const sum = internetChecksum([...pseudo, ...start, 0, 0, ...rest]);
    // hop limit 255, or nobody believes it
    const frame = ipFrame(ip, 58, [...start, ...be16(sum), ...rest]);
    this.send(frame.with(21, 255));
  }

  #transport(seen: Seen): void {
    const { ip, protocol, body } = seen;
    const ends =
      ip.version === 4 ? [0, protocol, ...be16(body.length)] : [...be32(body.length), 0, 0, 0, protocol];
    const pseudo = ip.version === 4 && protocol === 1 ? [] : [...ip.src, ...ip.dst, ...ends];
    if (internetChecksum([...pseudo, ...body]) !== 0) this.wrong.push(`checksum of protocol ${protocol}`);
    if (protocol === 1 && body[0] === 8) this.#pong(ip, body, 0, 1);
    else if (protocol === 58 && body[0] === 128) this.#pong(ip, body, 129, 58);
    else if (protocol === 6) this.#tcp(ip, body);
    else if (protocol === 17) this.#udp(ip, body);
  }

  #pong(ip: Ip, body: Uint8Array, type: number, protocol: number): void {
    this.pings++;
    const answer = [type, 0, 0, 0, ...body.subarray(4)];
    const pseudo = protocol === 1 ? [] : [...ip.src, ...ip.dst, ...be32(body.length), 0, 0, 0, 58];
    const sum = internetChecksum([...pseudo, ...answer]);
    this.send(ipFrame(ip, protocol, [type, 0, ...be16(sum), ...answer.slice(4)]));
  }

  #tcp(ip: Ip, segment: Uint8Array): void {
    const ports = [u16(segment, 2), u16(segment, 0)];
    const flags = segment[13] ?? 0;
    const key = `${ip.dst.join()} ${ports.join()}`;
    const known = this.#connections.get(key);
    if ((flags & FLAG.RST) !== 0) this.#connections.delete(key);
    else if ((flags & FLAG.SYN) !== 0 && known === undefined) this.#accept(key, ip, ports, segment);
    else if (known !== undefined) this.#segment(known, flags, segment);
  }

  #accept(key: string, ip: Ip, ports: readonly number[], segment: Uint8Array): void {
    let mss = ip.version === 4 ? 536 : 1220;
    let scale = -1;
    const end = 4 * ((segment[12] ?? 0) >> 4);
    for (let at = 20; at < end; ) {
      const kind = segment[at] ?? 0;
      if (kind === 2) mss = u16(segment, at + 2);
      if (kind === 3) scale = segment[at + 2] ?? 0;
      at += kind < 2 ? 1 : Math.max(2, segment[at + 1] ?? 0);
    }
    const connection: Connection = {
      ip,
      ports,
      mss,
      scale: Math.max(0, scale),
      out: this.#options.files?.[ports[0] ?? 0],
      // the numbers wrap around in the middle
      sequence: 0xfffff000,
      acked: 0,
      sent: 0,
      window: 0,
      expected: (u32(segment, 4) + 1) >>> 0,
      received: [],
      closed: false,
    };
    this.#connections.set(key, connection);
    const options = [2, 4, ...be16(mss), ...(scale < 0 ? [] : [1, 3, 3, 7])];
    this.#say(connection, FLAG.SYN | FLAG.ACK, [], (connection.sequence - 1) >>> 0, options);
  }

  #segment(connection: Connection, flags: number, segment: Uint8Array): void {
    const payload = segment.slice(4 * ((segment[12] ?? 0) >> 4));
    connection.window = u16(segment, 14) << connection.scale;
    const acked = (u32(segment, 8) - connection.sequence) >>> 0;
    if (acked <= connection.sent) connection.acked = Math.max(connection.acked, acked);
    const news = payload.length > 0 || (flags & FLAG.FIN) !== 0;
    if (news && u32(segment, 4) === connection.expected) {
      connection.received.push(payload);
      connection.expected = (connection.expected + payload.length + ((flags & FLAG.FIN) !== 0 ? 1 : 0)) >>> 0;
      if ((flags & FLAG.FIN) !== 0)
        this.uploads.set(connection.ports[0] ?? 0, Uint8Array.from(Buffer.concat(connection.received)));
    }
    if (news) this.#say(connection, FLAG.ACK, []);
    if (connection.out !== undefined) this.#more(connection, connection.out);
    else if ((flags & FLAG.FIN) !== 0) this.#say(connection, FLAG.FIN | FLAG.ACK, []);
  }

  #more(connection: Connection, out: Uint8Array): void {
    while (connection.sent < out.length) {
      const room =
        Math.min(connection.window, this.#options.inFlight ?? IN_FLIGHT) -
        (connection.sent - connection.acked);
      const length = Math.min(SUPER, out.length - connection.sent, room);
      if (length <= 0 || (length < connection.mss && length < out.length - connection.sent)) return;
      const part = [...out.subarray(connection.sent, connection.sent + length)];
      this.#say(connection, FLAG.ACK | FLAG.PSH, part, (connection.sequence + connection.sent) >>> 0);
      connection.sent += length;
    }
    if (connection.closed) return;
    connection.closed = true;
    this.#say(connection, FLAG.FIN | FLAG.ACK, []);
    connection.sent++;
  }

  /** A packet of any length: what is more than a segment, the card cuts. */
  #say(
    { ip, ports, mss, expected, sequence, sent }: Connection,
    flags: number,
    payload: readonly number[],
    seq = (sequence + sent) >>> 0,
    options: readonly number[] = [],
  ): void {
    const frame = tcpFrame(ip, { ports, seq, ack: expected, flags, options }, payload, true);
    const gso = payload.length <= mss ? 0 : ip.version === 4 ? GSO.TCPV4 : GSO.TCPV6;
    this.send(frame, headBytes(ip), 16, gso, gso === 0 ? 0 : mss);
  }

  /**
   * TFTP with large blocks, RFC 1350 and 2348. `x.frag`: a block is a datagram that the card cuts into fragments; `x.many`: all
   * blocks are one packet that the card cuts into datagrams.
   */
  #udp(ip: Ip, datagram: Uint8Array): void {
    const [from, to] = [u16(datagram, 0), u16(datagram, 2)];
    const operation = u16(datagram, 8);
    const fields = Buffer.from(datagram.subarray(10)).toString('latin1').split('\0');
    const key = `${ip.dst.join()} ${from}`;
    if (to === 69 && operation === 1) {
      const file = this.#options.boot?.[fields[0] ?? ''];
      if (file === undefined) return;
      const block = Number(fields[fields.indexOf('blksize') + 1] ?? 512);
      this.#files.set(key, { file, block, kind: (fields[0] ?? '').endsWith('many') ? GSO.UDP_L4 : GSO.UDP });
      this.#datagrams(ip, from, [0, 6, ...Buffer.from(`blksize\0${block}\0`)], 0, 0);
    } else if (operation === 4) this.#blocks(ip, from, key, u16(datagram, 10));
  }

  #blocks(ip: Ip, port: number, key: string, done: number): void {
    const transfer = this.#files.get(key);
    if (transfer === undefined) return;
    const { file, block, kind } = transfer;
    const last = Math.floor(file.length / block) + 1;
    if (done >= last) return;
    const one = (n: number): number[] => [0, 3, ...be16(n), ...file.subarray((n - 1) * block, n * block)];
    if (kind === GSO.UDP) this.#datagrams(ip, port, one(done + 1), GSO.UDP, 1448);
    else if (done === 0) {
      const all = Array.from({ length: last }, (_, i) => one(i + 1)).flat();
      this.#datagrams(ip, port, all, GSO.UDP_L4, block + 4);
    }
  }

  #datagrams(ip: Ip, port: number, payload: readonly number[], gso: number, size: number): void {
    const frame = udpFrame({ ...ip, flags: 0, id: this.#id++ & 0xffff }, payload, true, [69, port]);
    const type = payload.length <= size ? 0 : gso;
    this.send(frame, headBytes(ip), 6, type, type === 0 ? 0 : size);
  }
}
