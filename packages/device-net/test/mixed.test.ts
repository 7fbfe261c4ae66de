// Cards with offloads and without on one switch.
import { GSO, HDR_FLAG, NET_FEATURE, type NetBackend, type NetOffloads } from '@virtkit/device-net';
import { connect, NetSwitch, type SwitchOptions } from '@virtkit/device-net/switch';
import { describe, expect, test } from 'vitest';
import { headBytes, type Ip, tcpFrame } from './frames.ts';
import { hex, Machine } from './machine.ts';

const HEADER = 12;
const CTRL_GUEST_OFFLOADS = 5;
const mac = (n: number): number[] => [0x52, 0x54, 0, 0, 0, n];

interface Guest {
  readonly machine: Machine;
  /** Frames that came, each with its header's flags, kind of segmentation and segment size. */
  take(): string[];
}

function plug(lan: NetSwitch, n: number, offloads?: NetOffloads | false, buffers = 40): Guest {
  const net = {
    backend: lan.port(),
    mac: Uint8Array.from(mac(n)),
    ...(offloads !== undefined && { offloads }),
  };
  const machine = new Machine({ net });
  const places = machine.offer(Array(buffers).fill(4096));
  const take = (): string[] => {
    const list: string[] = [];
    let left = 0;
    for (const { len } of machine.used(0)) {
      const bytes = machine.read(places.shift() ?? 0, len);
      if (left > 0) list.push(`${list.pop()}${hex(bytes)}`);
      else {
        left = (bytes[10] ?? 0) + 256 * (bytes[11] ?? 0);
        const gsoSize = (bytes[4] ?? 0) + 256 * (bytes[5] ?? 0);
        list.push(`${bytes[0]} ${bytes[1]} ${gsoSize} ${hex(bytes.subarray(HEADER))}`);
      }
      left--;
    }
    return list;
  };
  return { machine, take };
}

const payload = Array.from({ length: 5000 }, (_, i) => (i * 5) & 0xff);
const ip = (version: 4 | 6, to: number): Ip => {
  const bytes = version === 4 ? 4 : 16;
  const [src, dst] = [Array(bytes).fill(1), Array(bytes).fill(2)];
  return { version, src, dst, id: 100, macs: [...(to === 0 ? Array(6).fill(0xff) : mac(to)), ...mac(1)] };
};

/** A packet of 5000 bytes, to be cut into segments of 2000. */
function sendLarge(from: Guest, version: 4 | 6, to: number, gsoSize = 2000): string {
  const where = ip(version, to);
  const header = new Uint8Array(HEADER);
  const view = new DataView(header.buffer);
  view.setUint8(0, HDR_FLAG.NEEDS_CSUM);
  view.setUint8(1, version === 4 ? GSO.TCPV4 : GSO.TCPV6);
  view.setUint16(4, gsoSize, true);
  view.setUint16(6, headBytes(where), true);
  view.setUint16(8, 16, true);
  const frame = Uint8Array.from(tcpFrame(where, { seq: 9, flags: 0x10 }, payload, true));
  from.machine.transmit(frame, header);
  return `1 ${header[1]} ${gsoSize} ${hex(frame)}`;
}

const segments = (version: 4 | 6, to: number): string[] =>
  [0, 2000, 4000].map((at, i) => {
    const where = { ...ip(version, to), id: 100 + i };
    const part = payload.slice(at, at + 2000);
    return `0 0 0 ${hex(Uint8Array.from(tcpFrame(where, { seq: 9 + at, flags: 0x10 }, part)))}`;
  });

describe('a large packet', () => {
  test('goes as it is where it is taken, and in segments elsewhere', () => {
    const lan = new NetSwitch();
    const a = plug(lan, 1);
    const others = [plug(lan, 2), plug(lan, 3, false), plug(lan, 4, { csum: true }), plug(lan, 5, {})];
    for (const version of [4, 6] as const) {
      const whole = sendLarge(a, version, 0);
      const parts = segments(version, 0);
      expect(others.map((each) => each.take())).toEqual([[whole], parts, parts, parts]);
    }
    // and to one alone, which is known by what it sent
    for (const [i, each] of others.entries()) {
      each.machine.transmit(Uint8Array.from([...mac(1), ...mac(2 + i), 0x88, 0xb5, ...Array(46).fill(0)]));
      const whole = sendLarge(a, 4, 2 + i);
      expect(others.map((other) => other.take())).toEqual(
        others.map((_, j) => (j !== i ? [] : i === 0 ? [whole] : segments(4, 2 + i))),
      );
    }
    expect(lan.offload).toMatchObject({ segmented: 9, segments: 27, malformed: 0 });
  });

  test('is cut for a driver that has switched its offloads off', () => {
    const lan = new NetSwitch();
    const a = plug(lan, 1);
    const b = plug(lan, 2);
    const { CTRL_VQ, GUEST_CSUM, GUEST_TSO4 } = NET_FEATURE;
    expect(b.machine.live.has(CTRL_VQ)).toBe(true);
    const data = new Uint8Array(8);
    new DataView(data.buffer).setBigUint64(0, (1n << BigInt(GUEST_CSUM)) | (1n << BigInt(GUEST_TSO4)), true);
    expect(b.machine.command(CTRL_GUEST_OFFLOADS, 0, data)).toBe(0);
    const whole = sendLarge(a, 4, 2);
    sendLarge(a, 6, 2);
    expect(b.take()).toEqual([whole, ...segments(6, 2)]);
  });

  test('is cut, and summed, for a network that wants complete frames', () => {
    const lan = new NetSwitch();
    const a = plug(lan, 1);
    const got: string[] = [];
    const plain: NetBackend = {
      send: (packet) => {
        const bytes = new Uint8Array(packet.length);
        packet.copyTo(bytes);
        return got.push(`${packet.flags} ${packet.gsoType} ${packet.gsoSize} ${hex(bytes)}`) > 0;
      },
    };
    connect(plain, lan.port());
    sendLarge(a, 6, 0);
    expect(got.splice(0)).toEqual(segments(6, 0));
    // one that is small, but without its checksum
    const where = ip(4, 0);
    const make = (partial: boolean) =>
      Uint8Array.from(tcpFrame(where, { seq: 1, flags: 2 }, [1, 2, 3], partial));
    const header = new Uint8Array(HEADER);
    header.set([HDR_FLAG.NEEDS_CSUM, 0, 0, 0, 0, 0, headBytes(where), 0, 16]);
    a.machine.transmit(make(true), header);
    expect(got).toEqual([`0 0 0 ${hex(make(false))}`]);
  });

  test('that is none is counted, and cut for nobody', () => {
    const lan = new NetSwitch();
    const a = plug(lan, 1);
    const b = plug(lan, 2, false);
    sendLarge(a, 4, 2, 0);
    expect(b.take()).toEqual([]);
    expect(lan.offload.malformed).toBe(1);
  });

  test('loses the segments that there is no room for', () => {
    const lan = new NetSwitch({ queueFrames: 2 });
    const a = plug(lan, 1);
    const port = lan.port();
    const b = new Machine({ net: { backend: port, mac: Uint8Array.from(mac(2)), offloads: false } });
    sendLarge(a, 4, 2);
    expect(port.waiting).toBe(2);
    expect(port.counters.dropped).toBe(1);
    b.offer([4096, 4096]);
    expect(b.used(0).map(({ len }) => len)).toEqual([2066, 2066]);
  });
});

describe('what a card offers', () => {
  const F = NET_FEATURE;
  const offered = (options: SwitchOptions, offloads?: NetOffloads | false): number[] => {
    const { live } = plug(new NetSwitch(options), 1, offloads).machine;
    const all = [F.CSUM, F.GUEST_CSUM, F.HOST_TSO4, F.GUEST_TSO6, F.HOST_UFO, F.HOST_USO];
    return all.filter((bit) => (live.offeredFeatures >> BigInt(bit)) & 1n);
  };
  const usual = [F.CSUM, F.GUEST_CSUM, F.HOST_TSO4, F.GUEST_TSO6, F.HOST_UFO];

  test('is what the switch says, unless it says so itself', () => {
    expect(offered({})).toEqual(usual);
    expect(offered({ offloads: { csum: true } })).toEqual([F.CSUM, F.GUEST_CSUM]);
    expect(offered({ offloads: false })).toEqual([]);
    expect(offered({}, false)).toEqual([]);
    expect(offered({ offloads: false }, { csum: true, uso: true })).toEqual([
      F.CSUM,
      F.GUEST_CSUM,
      F.HOST_USO,
    ]);
  });
});
