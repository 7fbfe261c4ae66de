// Two guests in one process, each with two cards: v86's own virtio-net, the two joined frame by frame, and ours on a switch.
// Bulk TCP over each, in turns; time of this process' CPU and on the clock, medians. A turn is several rounds, and the first of them
// do not count: v86 keeps so much translated code and no more, and a guest has one card and not two that take turns.
import { NetDevice } from '@virtkit/device-net';
import { NetSwitch } from '@virtkit/device-net/switch';
import { bootV86, findV86Kit, type V86Shell, v86Options } from '@virtkit/lab/v86.ts';
import { attach } from '@virtkit/v86';
import { V86 } from 'v86';

const ROUNDS = Number(process.env['VIRTKIT_ROUNDS'] ?? 12);
/** Rounds of a turn that count, and those before. */
const TURN = 4;
const WARM_UP = 4;
const found = findV86Kit();
if (!found.ok) {
  console.log(`not run: ${found.reason}`);
  process.exit(0);
}
const { kit } = found;

interface Bus {
  send(event: string, data: unknown): void;
}
const lan = new NetSwitch();
const emulators = [1, 2].map((number) => {
  const emulator = new V86(v86Options(kit, { net_device: { type: 'virtio' } } as never));
  attach(emulator, new NetDevice({ backend: lan.port(), mac: `52:54:00:00:00:0${number}` }), { slot: 4 });
  return emulator;
});
const [one, two] = emulators as [V86, V86];
const join = (from: V86, to: V86): void =>
  from.add_listener('net0-send', (frame: Uint8Array) => {
    // as a network adapter of v86 does: later, and a frame of its own
    const copy = frame.slice();
    setTimeout(() => (to as unknown as { bus: Bus }).bus.send('net0-receive', copy), 0);
  });
join(one, two);
join(two, one);
const shells: V86Shell[] = [];
for (const emulator of emulators) shells.push(await bootV86(kit, emulator));
const [a, b] = shells as [V86Shell, V86Shell];
const names: Record<string, string>[] = [];
for (const [i, shell] of shells.entries()) {
  const list = await shell.run('for n in eth0 eth1; do echo $n $(cat /sys/class/net/$n/address); done');
  const card = Object.fromEntries(
    list.split('\n').map((line) => [line.includes('52:54:') ? 'virtkit' : 'v86', line.slice(0, 4)]),
  );
  await shell.run(
    `ip addr add 10.0.1.${i + 1}/24 dev ${card['v86']}; ip addr add 10.0.2.${i + 1}/24 dev ${card['virtkit']}`,
  );
  await shell.run('ip link set eth0 up; ip link set eth1 up; sleep 1');
  names.push(card);
}
const PEERS = { v86: '10.0.1.2', virtkit: '10.0.2.2' } as const;
type Peer = keyof typeof PEERS;

// busybox's httpd sends files by sendfile, in pieces as large as the card takes them
const MEGABYTES = 16;
await b.run(`dd if=/dev/zero of=/tmp/data bs=1M count=${MEGABYTES} 2>/dev/null && httpd -p 5000 -h /tmp`);

// read in large blocks, as iperf3 does: small ones would measure the reads
await a.run(
  `printf '%s\\n' '#!/bin/sh' 'printf "GET /data HTTP/1.0\\r\\n\\r\\n"' 'dd bs=256k of=/dev/null 2>/tmp/log' > /tmp/get; chmod +x /tmp/get`,
);
async function transfer(peer: Peer): Promise<{ cpu: number; clock: number }> {
  const cpu = process.cpuUsage();
  const clock = performance.now();
  const received = `cat /sys/class/net/${names[0]?.[peer]}/statistics/rx_bytes`;
  const counts = await a.run(`${received}; nc ${PEERS[peer]} 5000 -e /tmp/get; ${received}`, 600_000);
  const [before = 0, after = 0] = counts.trim().split(/\s+/).map(Number);
  if (after - before < MEGABYTES << 20)
    throw new Error(`${after - before} bytes of ${MEGABYTES} MiB have come`);
  const { user, system } = process.cpuUsage(cpu);
  return { cpu: (user + system) / 1000 / MEGABYTES, clock: (performance.now() - clock) / MEGABYTES };
}
const median = (list: number[]): number => list.sort((a, b) => a - b)[list.length >> 1] ?? 0;
const times: Record<Peer, { cpu: number[]; clock: number[] }> = {
  v86: { cpu: [], clock: [] },
  virtkit: { cpu: [], clock: [] },
};
for (let turn = 0; turn < ROUNDS / TURN; turn++) {
  for (const peer of ['v86', 'virtkit'] as const) {
    // in the first turn, everything is to be translated
    for (let round = 0; round < (turn === 0 ? 4 : 1) * WARM_UP; round++) await transfer(peer);
    for (let round = 0; round < TURN; round++) {
      const { cpu, clock } = await transfer(peer);
      times[peer].cpu.push(cpu);
      times[peer].clock.push(clock);
    }
  }
}
console.log(`bulk TCP between two guests, ms a MiB, medians of ${ROUNDS} rounds`);
const cpu = { v86: median(times.v86.cpu), virtkit: median(times.virtkit.cpu) };
const clock = { v86: median(times.v86.clock), virtkit: median(times.virtkit.clock) };
for (const peer of ['v86', 'virtkit'] as const)
  console.log(
    `  ${peer.padEnd(10)} cpu ${cpu[peer].toFixed(1).padStart(8)}   clock ${clock[peer].toFixed(1).padStart(8)}   ${(1000 / clock[peer]).toFixed(1)} MiB/s`,
  );
console.log(
  `  v86/virtkit: cpu ${(cpu.v86 / cpu.virtkit).toFixed(1)}, clock ${(clock.v86 / clock.virtkit).toFixed(1)}`,
);
for (const emulator of emulators) await emulator.stop();
process.exit(0);
