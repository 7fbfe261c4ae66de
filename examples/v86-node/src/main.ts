import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as immediate } from 'node:timers/promises';
import { fileDisk } from '@virtkit/device-blk/node';
import { NetSwitch } from '@virtkit/device-net/switch';
import { findV86Kit } from '@virtkit/lab/v86.ts';
import { moveGuest } from '@virtkit/v86';
import { type Card, destroy, type Machine, makeMachine, resumeMachine } from './machine.ts';

// Debian's kernel in v86 with our disk and our network card: booted, tried out, connected to a second guest, and moved to
// another instance while it writes.

const MIB = 1 << 20;
/** For what takes long on a busy machine. */
const PATIENCE_MS = 300_000;

const found = findV86Kit();
if (!found.ok) {
  console.error(`${found.reason}\n(npm run prepare:guest)`);
  process.exit(1);
}
const { kit } = found;

const temporary = mkdtempSync(join(tmpdir(), 'virtkit-'));
const path = process.argv[2] ?? join(temporary, 'disk.img');
const content = Buffer.concat([randomBytes(8 * MIB), Buffer.alloc(24 * MIB)]);
writeFileSync(path, content, { flag: 'wx' }); // nobody's disk is overwritten

/** What outlives an instance of the emulator: the disk, and the Ethernet. */
const disk = fileDisk(path, { async: true });
const lan = new NetSwitch();
/** A port of the Ethernet for each instance: the guest that moves takes its address along. */
const cardOfA = (): Card => ({ network: lan.port(), mac: '52:54:00:00:00:0a' });
const cardOfB = (): Card => ({ network: lan.port(), mac: '52:54:00:00:00:0b' });

let wrong = 0;
function check(what: string, right: boolean): void {
  console.log(`${right ? 'right' : 'WRONG'}: ${what}`);
  if (!right) wrong++;
}

async function tell({ shell }: Machine, name: string, command: string): Promise<string> {
  const output = await shell.run(command, PATIENCE_MS);
  console.log(`${name}# ${command}\n${output}\n`);
  return output;
}

const seconds = (since: number): string => ((performance.now() - since) / 1000).toFixed(1);

// --- boot, with the devices in their slots
let start = performance.now();
const a = await makeMachine(kit, 'a', disk, cardOfA());
await a.emulator.run();
await a.shell.waitFor(/LAB:SHELL/, PATIENCE_MS);
await a.shell.run('true');
console.log(`a: booted in ${seconds(start)} s\n`);
await tell(a, 'a', 'uname -srm');
await tell(
  a,
  'a',
  'for d in /sys/bus/virtio/devices/*; do echo $(basename $d) $(basename $(readlink $d/driver)) $(cat $d/features); done',
);

// --- the disk
const sum = createHash('md5')
  .update(content.subarray(0, 8 * MIB))
  .digest('hex');
const read = await tell(a, 'a', 'dd if=/dev/vda bs=64k count=128 iflag=direct | md5sum');
check('what dd reads is what is on the disk', read.includes(sum));
await tell(a, 'a', '/sbin/mke2fs -q -t ext4 /dev/vda && mount -t ext4 /dev/vda /mnt && df -h /mnt');

// --- a second guest, which is running when its card is plugged in
start = performance.now();
const b = await resumeMachine(kit, 'b', cardOfB());
console.log(`b: resumed from a snapshot in ${seconds(start)} s, and given a card\n`);
await a.shell.run('ip addr add 10.0.0.1/24 dev eth0; ip link set eth0 up');
await b.shell.run('ip addr add 10.0.0.2/24 dev eth0; ip link set eth0 up');
const ping = await tell(a, 'a', 'ping -q -c 100 -i 0.01 -s 1000 10.0.0.2');
check('no packet is lost', ping.includes('100 packets received, 0% packet loss'));
const received = b.shell.start('nc -l -p 5000 | md5sum', PATIENCE_MS);
const sent = await tell(
  a,
  'a',
  'head -c 4194304 /dev/urandom > /tmp/data; nc 10.0.0.2 5000 < /tmp/data; md5sum < /tmp/data',
);
check('4 MiB over TCP', (await received.done).output === sent);

// --- to another instance, while it writes
const elsewhere = await makeMachine(kit, 'a', disk, cardOfA());
const copies = a.shell.start(
  'for i in 1 2 3 4; do cp /tmp/data /mnt/$i; sync; done; echo 3 > /proc/sys/vm/drop_caches; md5sum /mnt/[1-4] | cut -d " " -f 1 | uniq -c',
  PATIENCE_MS,
);
let copied = false;
copies.done.finally(() => {
  copied = true;
});
while (!copied && a.blk.inFlight === 0) await immediate();
const inFlight = a.blk.inFlight;
start = performance.now();
const { bytes } = await moveGuest(a.emulator, elsewhere.emulator);
a.shell.follow(elsewhere.emulator);
console.log(
  `a: moved in ${seconds(start)} s, ${(bytes / MIB).toFixed(0)} MiB, ${inFlight} disk requests in flight\n`,
);
await destroy(a);
const moved = { ...elsewhere, shell: a.shell };
check(
  'four copies, begun there and finished here',
  (await copies.done).output === `4 ${sent.replace(/ .*/, '')}`,
);
await tell(moved, 'a', 'ping -q -c 3 -i 0.1 10.0.0.2 | grep loss');
await moved.shell.run('umount /mnt');
const { status, output } = await moved.shell.start('/sbin/e2fsck -f -n /dev/vda').done;
console.log(`${output}\n`);
check('the file system is clean', status === 0);

await destroy(moved);
await destroy(b);
disk.close();
rmSync(temporary, { recursive: true });
console.log(wrong === 0 ? 'all is right' : `${wrong} wrong`);
process.exitCode = wrong === 0 ? 0 : 1;
