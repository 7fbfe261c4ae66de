// A guest that works on its disk and its network moves to a fresh v86 every few seconds, for ten minutes: nothing may hang, no byte
// may be wrong, no request done twice or lost. VIRTKIT_SOAK_MINUTES, VIRTKIT_SOAK_PAUSE (ms between moves), VIRTKIT_V86_MODE.
import { createHash, randomBytes } from 'node:crypto';
import { setImmediate as immediate, setTimeout as sleep } from 'node:timers/promises';
import type { DeviceEvent, Spans } from '@virtkit/core';
import { type BlkBackend, BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { NetDevice } from '@virtkit/device-net';
import { NetSwitch } from '@virtkit/device-net/switch';
import { findV86Kit, resumeV86, type V86Shell, v86Snapshot } from '@virtkit/lab/v86.ts';
import type { PciMode } from '@virtkit/transport-pci';
import { attach, moveGuest } from '@virtkit/v86';
import type { V86 } from 'v86';

const MIB = 1 << 20;
const MINUTES = Number(process.env['VIRTKIT_SOAK_MINUTES'] ?? 10);
const PAUSE_MS = Number(process.env['VIRTKIT_SOAK_PAUSE'] ?? 3000);
const mode = (process.env['VIRTKIT_V86_MODE'] ?? 'transitional') as PciMode;
const LATEST_MS = 100;
/** Bytes of each of eight writers. */
const STRIPE = MIB / 8;
/** Without any progress for so long, the guest hangs. */
const HANG_MS = 120_000;
const found = findV86Kit();
if (!found.ok) {
  console.log(`not run: ${found.reason}`);
  process.exit(0);
}
const { kit } = found;
const snapshot = await v86Snapshot(kit);

const inner = memoryDisk(16 * MIB);
const later = (): Promise<void> => sleep(Math.random() * LATEST_MS);
/** Operations end in any order, some at once. */
const disk: BlkBackend = {
  size: inner.size,
  read: async (position: number, target: Spans, from: number, length: number) => {
    await later();
    inner.read(position, target, from, length);
  },
  write: async (position: number, source: Spans, from: number, length: number) => {
    const bytes = new Uint8Array(length);
    source.copyTo(from, bytes, 0, length);
    await later();
    inner.bytes.set(bytes, position);
  },
  flush: later,
};
/** What is sent over TCP, again and again: the guest reads it from a disk of its own. */
const data = memoryDisk(new Uint8Array(randomBytes(MIB)));
const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');
const sum = md5(data.bytes);

const lan = new NetSwitch();
const faults: string[] = [];
const onEvent = ({ name, device, reason }: DeviceEvent): void => {
  if (name === 'error' || name === 'fault') faults.push(`${device}: ${name}: ${reason}`);
};

interface Instance {
  readonly emulator: V86;
  readonly shell: V86Shell;
  readonly blk: BlkDevice;
  destroy(): Promise<void>;
}

async function instance(): Promise<Instance> {
  const { emulator, shell } = await resumeV86(kit, snapshot);
  const port = lan.port();
  const blk = new BlkDevice({ backend: disk });
  attach(emulator, blk, { slot: 3, mode, onEvent });
  attach(emulator, new NetDevice({ backend: port, mac: '52:54:00:00:00:01' }), { slot: 4, mode, onEvent });
  attach(emulator, new BlkDevice({ backend: data }), { slot: 8, mode, onEvent });
  const destroy = async (): Promise<void> => {
    port.close();
    if (emulator.is_running()) await emulator.stop();
    await emulator.destroy();
  };
  return { emulator, shell, blk, destroy };
}

const peer = await resumeV86(kit, snapshot);
const peerPort = lan.port();
attach(peer.emulator, new NetDevice({ backend: peerPort, mac: '52:54:00:00:00:02' }), { slot: 4, onEvent });
let here = await instance();
const { shell } = here;
for (const [i, { emulator, shell: sh }] of [here, peer].entries()) {
  await emulator.run();
  await sh.run('echo 1 > /sys/bus/pci/rescan');
  await sh.run(`ip addr add 10.0.0.${i + 1}/24 dev eth0; ip link set eth0 up`);
}
await shell.run('cat /dev/vdb > /tmp/data; [ -b /dev/vda ]');
for (let n = 0; n < 8; n++) {
  const rotated = Buffer.concat([data.bytes.subarray(n * STRIPE), data.bytes.subarray(0, n * STRIPE)]);
  await shell.run(`echo ${md5(rotated)} > /tmp/sum${n}`);
}
peer.shell.start('while :; do echo SUM $(nc -l -p 5000 | md5sum); done').done.catch(() => {});
shell
  .start(
    `(n=0; while :; do
  n=$(((n + 1) % 8))
  for i in 0 1 2 3 4 5 6 7; do
    dd if=/tmp/data of=/dev/vda bs=32k count=4 skip=$(((i + n) % 8 * 4)) seek=$((i * 4)) oflag=direct conv=notrunc 2>/dev/null &
  done
  wait
  case $(dd if=/dev/vda bs=64k count=16 iflag=direct 2>/dev/null | md5sum) in $(cat /tmp/sum$n)*) echo DISK right;; *) echo DISK WRONG;; esac
done) &
(while :; do nc 10.0.0.2 5000 < /tmp/data; sleep 1; done) &
(while :; do ping -q -c 50 -i 0.1 10.0.0.2 | grep loss; done) &
sleep 100000000`,
  )
  .done.catch(() => {});

const count = (text: string, pattern: RegExp): number => text.match(pattern)?.length ?? 0;
const progress = () => ({
  disk: count(shell.output, /DISK right/g),
  tcp: count(peer.shell.output, new RegExp(`SUM ${sum}`, 'g')),
  wrong: count(shell.output, /DISK WRONG|differ|error|lockup|stall/gi),
});

const start = performance.now();
let moves = 0;
let longest = 0;
let most = 0;
let inFlight = 0;
let last = progress();
let lastAt = start;
while (performance.now() - start < MINUTES * 60_000 && faults.length === 0 && last.wrong === 0) {
  const next = await instance();
  await sleep(PAUSE_MS * (0.5 + Math.random()));
  // in the middle of it, if the guest is at its disk at all
  const until = performance.now() + PAUSE_MS;
  while (here.blk.inFlight < 4 && performance.now() < until) await immediate();
  inFlight += here.blk.inFlight;
  most = Math.max(most, here.blk.inFlight);
  const began = performance.now();
  await moveGuest(here.emulator, next.emulator);
  longest = Math.max(longest, performance.now() - began);
  shell.follow(next.emulator);
  await here.destroy();
  here = next;
  moves++;
  const now = progress();
  if (now.disk > last.disk && now.tcp > last.tcp) {
    last = now;
    lastAt = performance.now();
  } else last = { ...last, wrong: now.wrong };
  if (performance.now() - lastAt > HANG_MS)
    faults.push(`no progress for ${HANG_MS} ms: ${JSON.stringify(now)}`);
  if (moves % 20 === 0) console.log(`  ${moves} moves, ${JSON.stringify(now)}`);
}
const end = progress();
const lost = [...shell.output.matchAll(/(\d+)% packet loss/g)].reduce((all, [, n]) => all + Number(n) / 2, 0);
console.log(
  `${mode}: ${moves} moves in ${((performance.now() - start) / 60_000).toFixed(1)} minutes, the longest ${longest.toFixed(0)} ms`,
);
console.log(`  requests in flight at a move: ${(inFlight / moves).toFixed(1)}, at most ${most}`);
console.log(
  `  1 MiB written and read by eight: ${end.disk} times right; 1 MiB over TCP: ${end.tcp} times right; pings lost: ${lost}`,
);
console.log(`  memory of this process: ${(process.memoryUsage().rss / MIB).toFixed(0)} MiB`);
if (end.wrong > 0) faults.push(shell.output.slice(-2000));
for (const fault of faults) console.log(`  WRONG: ${fault}`);
process.exit(faults.length === 0 && end.disk > 0 && end.tcp > 0 ? 0 : 1);
