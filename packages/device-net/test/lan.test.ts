// Guests of ours and real Linux guests in real QEMUs on one Ethernet. What is judged by Linux: it drops what has a wrong checksum, and
// counts it.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatagramBackend, type LinkEvent, StreamBackend, StreamServer } from '@virtkit/device-net/node';
import { connect, NetSwitch } from '@virtkit/device-net/switch';
import { WebSocketBackend } from '@virtkit/device-net/websocket';
import { findLab, ipv4Of, ipv6Of, NetGuest } from '@virtkit/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import WebSocket, { WebSocketServer } from 'ws';
import { udpFrame } from './frames.ts';
import { poll } from './links.ts';
import { TinyHost } from './tiny-host.ts';

const lab = findLab('x86_64', process.env['VIRTKIT_QEMU_ROOT']);
if (!lab.ok) console.warn(`SKIPPED: no Linux on the networks: ${lab.reason}`);

const WAIT = 120_000;

const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const noise = (length: number): Uint8Array => {
  let state = 1;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
};
/** A file in each guest. */
const data = noise(1_000_003);
/** Guests of ours: network and host. */
const HOSTS = [
  [1, 100],
  [1, 101],
  [2, 100],
  [3, 100],
] as const;
const reply = (count: number): RegExp =>
  new RegExp(`${count} packets transmitted, ${count} packets received`);

describe.skipIf(!lab.ok)('two Linux guests in QEMU and guests of ours on one Ethernet', () => {
  const dir = mkdtempSync(join(tmpdir(), 'virtkit-lan-'));
  const lan = new NetSwitch();
  const other = new NetSwitch();
  const events: LinkEvent[] = [];
  const file = noise(1_500_001);
  const boot = { 'x.frag': noise(40_001), 'x.many': noise(20_001) };
  const host = { host: 100, files: { 5001: file }, boot };
  let server: StreamServer;
  let direct: StreamBackend;
  let back: StreamBackend;
  let datagrams: DatagramBackend;
  let sockets: StreamBackend;
  let far: WebSocketBackend;
  let relay: WebSocketServer;
  let a: NetGuest;
  let b: NetGuest;
  /** Networks 1, 1 behind a WebSocket, 2, 3. */
  const ours: TinyHost[] = [];

  beforeAll(async () => {
    if (!lab.ok) return;
    const unix = (name: string): string => join(dir, name);
    // network 1: A connects to our switch, B is connected to by us, a guest of ours is on it
    server = await StreamServer.listen(lan, { path: unix('lan') });
    back = StreamBackend.connect({
      path: unix('b'),
      reconnect: { min: 50, max: 200 },
      onEvent: (e) => events.push(e),
    });
    connect(lan.port(), back);
    ours.push(new TinyHost(lan.port(), { ...host, net: 1 }));
    // and one behind a relay
    relay = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    relay.on('connection', (socket) => connect(lan.port(), new WebSocketBackend({ socket })));
    await once(relay, 'listening');
    const { port } = relay.address() as AddressInfo;
    far = new WebSocketBackend({ url: `ws://127.0.0.1:${port}/`, WebSocket });
    ours.push(new TinyHost(far, { ...host, host: 101, net: 1 }));
    // network 2: a card of ours and A, nothing in between
    direct = await StreamBackend.listen({ port: 0 });
    ours.push(new TinyHost(direct, { ...host, net: 2 }));
    // network 3: A by datagrams, B by the older form of streams
    const spare = await DatagramBackend.open({ local: { port: 0 }, remote: { port: 9 } });
    const theirs = spare.localPort;
    await spare.close();
    datagrams = await DatagramBackend.open({ local: { port: 0 }, remote: { port: theirs } });
    connect(other.port(), datagrams);
    sockets = await StreamBackend.listen({ port: 0 });
    connect(sockets, other.port());
    // it sends nothing twice, and datagrams are lost where too many come at a time
    ours.push(new TinyHost(other.port(), { ...host, net: 3, inFlight: 32 << 10 }));
    const inet = (port = 0): string => `addr.type=inet,addr.host=127.0.0.1,addr.port=${port}`;
    const ends = (name: string, port: number): string =>
      `${name}.type=inet,${name}.host=127.0.0.1,${name}.port=${port}`;
    const files = { data };
    a = await NetGuest.boot({
      lab,
      host: 1,
      files,
      cards: [
        { net: 1, netdev: `stream,server=off,addr.type=unix,addr.path=${unix('lan')}` },
        { net: 2, netdev: `stream,server=off,${inet(direct.address?.port)}` },
        { net: 3, netdev: `dgram,${ends('local', theirs)},${ends('remote', datagrams.localPort)}` },
      ],
    });
    b = await NetGuest.boot({
      lab,
      host: 2,
      files,
      cards: [
        { net: 1, netdev: `stream,server=on,addr.type=unix,addr.path=${unix('b')}` },
        { net: 3, netdev: `socket,connect=127.0.0.1:${sockets.address?.port}` },
      ],
    });
    await Promise.all([a.ready(), b.ready()]);
  }, WAIT);

  afterAll(async () => {
    await Promise.all([a?.vm.close(), b?.vm.close()]);
    await Promise.all([
      server?.close(),
      back?.close(),
      direct?.close(),
      datagrams?.close(),
      sockets?.close(),
    ]);
    rmSync(dir, { recursive: true, force: true });
  });

  test('we connected when QEMU was there at last', () => {
    expect(events[0]).toMatchObject({ name: 'down', retryIn: 50 });
    expect(events.at(-1)).toMatchObject({ name: 'up' });
    expect([back.up, direct.up, sockets.up, server.links.length]).toEqual([true, true, true, 1]);
  });

  test('they answer each other', async () => {
    for (const [net, targets] of [
      [1, [2, 100, 101]],
      [2, [100]],
      [3, [2, 100]],
    ] as const) {
      for (const target of targets) {
        expect(await a.run(`ping -c 3 -i 0.1 -W 5 ${ipv4Of(net, target)}`)).toMatch(reply(3));
        expect(await a.run(`ping6 -c 3 -i 0.1 -W 5 ${ipv6Of(net, target)}`)).toMatch(reply(3));
      }
    }
    expect(await a.run('ping -c 2 -i 0.1 -W 5 -s 9000 10.0.1.2')).toMatch(reply(2));
    expect(await b.run('ping -c 2 -i 0.1 -W 5 10.0.1.1')).toMatch(reply(2));
    expect(ours.map(({ pings }) => pings)).toEqual([6, 6, 6, 6]);
  });

  test('TCP from Linux to Linux, both ways', async () => {
    const expected = digest(data);
    for (const net of [1, 3]) {
      const [here, there] = net === 1 ? [a, b] : [b, a];
      const target = net === 1 ? 2 : 1;
      const got = there.run('nc -l -p 7000 | sha256sum');
      await here.run(`while ! nc ${ipv4Of(net, target)} 7000 < /data; do usleep 50000; done 2>/dev/null`);
      expect(await got).toContain(expected);
    }
  });

  test('TCP to Linux in segments that we cut, and back, over IPv4 and IPv6', async () => {
    for (const [net, host] of HOSTS) {
      for (const address of [ipv4Of(net, host), ipv6Of(net, host)]) {
        expect(await a.run(`nc ${address} 5001 </dev/null | sha256sum`)).toContain(digest(file));
      }
      await a.run(`nc ${ipv4Of(net, host)} 5002 < /data`);
    }
    for (const each of ours) {
      expect(digest(each.uploads.get(5002) ?? new Uint8Array(0))).toBe(digest(data));
      expect(each.wrong).toEqual([]);
    }
    for (const { offload } of [direct, datagrams, far, ...server.links]) {
      // of 2054 segments; how many come alone is the window's affair
      expect(offload.segments).toBeGreaterThan(500);
      expect(offload).toMatchObject({ malformed: 0, unsupported: 0 });
    }
    expect(await a.wrongPackets()).toEqual([]);
  });

  test('UDP to Linux in fragments and datagrams that we cut', async () => {
    for (const [net, host] of HOSTS) {
      for (const address of [ipv4Of(net, host), ipv6Of(net, host)]) {
        for (const [name, block] of [
          ['x.frag', 9000],
          ['x.many', 1400],
        ] as const) {
          const got = await a.run(
            `tftp -g -b ${block} -r ${name} -l /tmp/f ${address}; sha256sum /tmp/f; rm /tmp/f`,
          );
          expect(got).toContain(digest(boot[name]));
        }
      }
    }
    const text = await a.run('grep Ip: /proc/net/snmp; grep ReasmOKs /proc/net/snmp6');
    expect(Number(/Ip6ReasmOKs\s+(\d+)/.exec(text)?.[1])).toBeGreaterThanOrEqual(12);
    expect(await a.wrongPackets()).toEqual([]);
    expect(await b.wrongPackets()).toEqual([]);
    // and Linux would have noticed
    const [host] = ours;
    const to = { dst: [10, 0, 1, 1], macs: [0x52, 0x54, 0, 0, 0, 1, ...(host?.mac ?? [])] };
    const frame = udpFrame({ version: 4, src: host?.ipv4 ?? [], ...to }, [1, 2, 3, 4]);
    host?.send(frame.with(-1, 5));
    await poll(() => a.wrongPackets()).toEqual(['Udp: InErrors 1', 'Udp: InCsumErrors 1']);
  });

  test('when QEMU is gone, the link is down, and its port is free', async () => {
    await b.vm.close();
    await poll(() => [back.up, sockets.up]).toEqual([false, false]);
    await a.vm.close();
    await poll(() => [direct.up, server.links.length]).toEqual([false, 0]);
    expect(events.at(-1)).toMatchObject({ name: 'down' });
    // a card whose cable is not plugged in goes on
    ours[2]?.arp([10, 0, 2, 1]);
    await poll(() => direct.counters.txDropped).toBeGreaterThan(0);
  });
});
