// Debian's kernel in v86, driving our devices with its own drivers.
import { createHash, randomBytes } from 'node:crypto';
import { type MemoryDisk, memoryDisk } from '@virtkit/device-blk';
import { NetSwitch } from '@virtkit/device-net/switch';
import { moveGuest } from '@virtkit/v86';
import { describe, expect, test } from 'vitest';
import { addCard, addDisk, configure, delay, LateDisk, linux, noGuest, scan, TIMEOUT_MS } from './world.ts';

const MIB = 1 << 20;
const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');
const random = (bytes: number): MemoryDisk => memoryDisk(new Uint8Array(randomBytes(bytes)));

/** What is made on the disk; ext2, which writes in another order, is among the long runs. */
const FILE_SYSTEMS = process.env['VIRTKIT_SLOW'] === undefined ? ['ext4'] : ['ext4', 'ext2'];

describe.skipIf(noGuest)('Linux on a disk', { timeout: TIMEOUT_MS }, () => {
  for (const mode of ['transitional', 'modern', 'legacy'] as const) {
    for (const packed of mode === 'modern' ? [false, true] : [false]) {
      test(`${mode}${packed ? ', packed ring' : ''}: the driver binds, and data is right both ways`, async () => {
        const guest = await linux();
        const backend = random(4 * MIB);
        const { attachment } = addDisk(guest, backend, { mode, rings: { packed } });
        await scan(guest);
        const { shell } = guest;
        expect(await shell.run('basename $(readlink /sys/bus/virtio/devices/virtio0/driver)')).toBe(
          'virtio_blk',
        );
        const sum = md5(backend.bytes.subarray(0, MIB));
        expect(await shell.run('dd if=/dev/vda bs=64k count=16 iflag=direct 2>/dev/null | md5sum')).toBe(
          `${sum}  -`,
        );
        await shell.run(
          'dd if=/dev/vda of=/dev/vda bs=4k count=256 seek=256 iflag=direct oflag=direct conv=notrunc',
        );
        await shell.run('dd if=/dev/vda of=/dev/vda bs=1M count=1 seek=2 conv=notrunc,fsync');
        expect(md5(backend.bytes.subarray(MIB, 2 * MIB))).toBe(sum);
        expect(md5(backend.bytes.subarray(2 * MIB, 3 * MIB))).toBe(sum);
        expect(attachment.counters.interrupts).toBeGreaterThan(0);
        expect(attachment.function.device.has(34)).toBe(packed);
        expect(guest.events).toEqual([]);
      });
    }
  }

  test.each(FILE_SYSTEMS)('%s: made, filled, moved while it is written, checked', async (type) => {
    const backend = memoryDisk(32 * MIB);
    const guest = await linux();
    addDisk(guest, backend);
    addDisk(guest, random(MIB), { slot: 8 });
    await scan(guest);
    const { shell } = guest;
    await shell.run(`/sbin/mke2fs -q -t ${type} /dev/vda && mount -t ${type} /dev/vda /mnt`);
    await shell.run('cat /dev/vdb > /tmp/a; md5sum < /tmp/a > /tmp/sum');
    const work = shell.start(
      'for i in 1 2 3 4 5 6; do cp /tmp/a /mnt/$i; sync; echo 3 > /proc/sys/vm/drop_caches; done; for i in 1 2 3 4 5 6; do md5sum < /mnt/$i | cmp - /tmp/sum || exit 1; done',
    );
    await delay(300);
    const target = await linux();
    addDisk(target, backend);
    addDisk(target, random(MIB), { slot: 8 });
    await moveGuest(guest.emulator, target.emulator);
    shell.follow(target.emulator);
    expect(guest.emulator.is_running()).toBe(false);
    expect(await work.done).toEqual({ status: 0, output: '' });
    expect(await shell.run('umount /mnt; /sbin/e2fsck -f -n /dev/vda 2>/dev/null | tail -1')).toMatch(
      /17\/\d+ files/,
    );
    // as after a power cut: mounted, written, and looked at from outside
    await shell.run(`mount -t ${type} /dev/vda /mnt; cp /tmp/a /mnt/7; sync`);
    const other = await linux();
    addDisk(other, memoryDisk(backend.bytes.slice()));
    await scan(other);
    await other.shell.run('/sbin/e2fsck -p /dev/vda || [ $? -le 1 ]');
    expect(await other.shell.run(`mount -t ${type} /dev/vda /mnt && md5sum < /mnt/7`)).toBe(
      await shell.run('cat /tmp/sum'),
    );
  });

  test('a move with a disk that takes 100 ms, in the middle of 8 requests: nothing is lost, nothing done twice', async () => {
    const late = new LateDisk(random(4 * MIB), 100);
    const guest = await linux();
    let { blk } = addDisk(guest, late);
    await scan(guest);
    const { shell } = guest;
    await shell.run('dd if=/dev/vda bs=64k count=32 of=/tmp/a iflag=direct');
    // eight writers, each its own stripe of 256 KiB in the second half, in requests of 32 KiB
    const half = late.inner.bytes.subarray(0, 2 * MIB);
    const sum = md5(half);
    late.hold();
    const work = shell.start(
      'for i in 0 1 2 3 4 5 6 7; do dd if=/tmp/a of=/dev/vda bs=32k count=8 skip=$((i * 8)) seek=$((64 + i * 8)) oflag=direct conv=notrunc 2>/dev/null & done; wait',
    );
    const targets = [await linux(), await linux()];
    let from = guest;
    for (const target of targets) {
      const next = addDisk(target, late).blk;
      while (blk.inFlight < 8) await delay(20);
      const moving = moveGuest(from.emulator, target.emulator);
      // the guest stands still; a move waits for what its disk has begun
      late.release();
      if (target !== targets.at(-1)) late.hold();
      await moving;
      shell.follow(target.emulator);
      from = target;
      blk = next;
    }
    expect((await work.done).status).toBe(0);
    expect(md5(late.inner.bytes.subarray(2 * MIB, 4 * MIB))).toBe(sum);
    expect(await shell.run('dd if=/dev/vda bs=64k skip=32 count=32 iflag=direct 2>/dev/null | md5sum')).toBe(
      `${sum}  -`,
    );
    expect(late.most).toBeGreaterThanOrEqual(8);
    // time has not jumped for the guest
    expect(await shell.run('dmesg | grep -i -e lockup -e "rcu.*stall" -e "I/O error" || true')).toBe('');
  });

  test('a disk that is read-only', async () => {
    const guest = await linux();
    addDisk(guest, memoryDisk(MIB, { readOnly: true }));
    await scan(guest);
    expect(await guest.shell.run('cat /sys/block/vda/ro')).toBe('1');
    const { status } = await guest.shell.start('dd if=/dev/zero of=/dev/vda bs=512 count=1 oflag=direct')
      .done;
    expect(status).not.toBe(0);
  });

  test('a disk that grows', async () => {
    const guest = await linux();
    const backend = memoryDisk(MIB);
    const { blk } = addDisk(guest, backend);
    await scan(guest);
    expect(await guest.shell.run('cat /sys/block/vda/size')).toBe('2048');
    backend.resize(3 * MIB);
    blk.resize();
    expect(await guest.shell.run('sleep 0.3; cat /sys/block/vda/size')).toBe('6144');
    await guest.shell.run('dd if=/dev/zero of=/dev/vda bs=512 count=1 seek=6143 oflag=direct');
  });

  test('drivers unloaded and loaded again; the device pulled and plugged', async () => {
    const guest = await linux();
    const first = addDisk(guest, memoryDisk(MIB));
    await scan(guest);
    const { shell } = guest;
    const read = 'dd if=/dev/vda of=/dev/null bs=64k count=16 iflag=direct 2>&1';
    await shell.run(`${read}; rmmod virtio_blk`);
    expect((await shell.start('ls /dev/vda').done).status).not.toBe(0);
    await shell.run(`insmod /modules/virtio_blk.ko && ${read}`);
    await shell.run(
      'rmmod virtio_blk virtio_pci 2>/dev/null; insmod /modules/virtio_pci.ko; insmod /modules/virtio_blk.ko',
    );
    await shell.run(read);
    await shell.run('echo 1 > /sys/bus/pci/devices/0000:00:03.0/remove');
    first.attachment.detach();
    expect(await shell.run('echo 1 > /sys/bus/pci/rescan; ls /sys/bus/virtio/devices | wc -l')).toBe('0');
    addDisk(guest, memoryDisk(2 * MIB), { mode: 'modern' });
    expect(await shell.run('echo 1 > /sys/bus/pci/rescan; cat /sys/block/vda/size')).toBe('4096');
    await shell.run(read);
    expect(guest.events).toEqual([]);
  });
});

describe.skipIf(noGuest)('Linux on a network', { timeout: TIMEOUT_MS }, () => {
  test('two guests: ping without loss, bulk data without an error, link down and up', async () => {
    const lan = new NetSwitch();
    const guests = await Promise.all([linux(), linux()]);
    const cards = guests.map((guest, i) => addCard(guest, lan, i + 1, i === 0 ? {} : { mode: 'modern' }));
    for (const [i, guest] of guests.entries()) {
      await scan(guest);
      await configure(guest, i + 1);
    }
    const [a, b] = guests as [(typeof guests)[0], (typeof guests)[0]];
    expect(await a.shell.run('ping -q -c 200 -i 0.005 -s 1400 10.0.0.2')).toMatch(
      /200 packets received, 0% packet loss/,
    );
    const megabytes = process.env['VIRTKIT_SLOW'] === undefined ? 4 : 100;
    const data = random(MIB);
    addDisk(a, data);
    await scan(a);
    const received = b.shell.start('nc -l -p 5000 | md5sum', TIMEOUT_MS);
    await a.shell.run(
      `cat /dev/vda > /tmp/r; n=0; while [ $n -lt ${megabytes} ]; do cat /tmp/r; n=$((n + 1)); done | nc 10.0.0.2 5000`,
      TIMEOUT_MS,
    );
    const whole = createHash('md5');
    for (let i = 0; i < megabytes; i++) whole.update(data.bytes);
    expect((await received.done).output).toBe(`${whole.digest('hex')}  -`);
    expect(await b.shell.run("awk '/^Tcp:/ { print $15 }' /proc/net/snmp | tail -1")).toBe('0');
    const card = cards[0];
    card?.net.setLink(false);
    expect(await a.shell.run('sleep 0.3; cat /sys/class/net/eth0/carrier')).toBe('0');
    card?.net.setLink(true);
    expect(await a.shell.run('sleep 0.3; cat /sys/class/net/eth0/carrier')).toBe('1');
    expect(await a.shell.run('ping -q -c 3 -i 0.05 10.0.0.2')).toMatch(/ 0% packet loss/);
    expect([...a.events, ...b.events].filter(({ name }) => name === 'error' || name === 'fault')).toEqual([]);
  });

  test('a guest that is moved to another instance while it receives', async () => {
    const lan = new NetSwitch();
    const [a, b, c] = (await Promise.all([linux(), linux(), linux()])) as [Guest, Guest, Guest];
    addCard(a, lan, 1);
    const before = addCard(b, lan, 2);
    for (const [i, guest] of [a, b].entries()) {
      await scan(guest);
      await configure(guest, i + 1);
    }
    const data = random(4 * MIB);
    addDisk(a, data);
    await scan(a);
    await a.shell.run('cat /dev/vda > /tmp/r');
    const received = b.shell.start('nc -l -p 5000 | md5sum', TIMEOUT_MS);
    const sent = a.shell.start('sleep 0.2; nc 10.0.0.2 5000 < /tmp/r', TIMEOUT_MS);
    const counters = before.attachment.counters;
    const start = counters.interrupts;
    while (counters.interrupts < start + 20) await delay(5);
    addCard(c, lan, 2);
    await moveGuest(b.emulator, c.emulator);
    before.attachment.detach();
    b.shell.follow(c.emulator);
    await sent.done;
    expect((await received.done).output).toBe(`${md5(data.bytes)}  -`);
  });
});

type Guest = Awaited<ReturnType<typeof linux>>;
