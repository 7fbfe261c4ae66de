// A device type that virtkit does not have, behind Linux's driver for it; and what drivers seldom do.
import { randomBytes } from 'node:crypto';
import { memoryDisk } from '@virtkit/device-blk';
import { attach, moveGuest } from '@virtkit/v86';
import { describe, expect, test } from 'vitest';
import { Entropy } from './entropy.ts';
import { addDisk, delay, type Guest, linux, noGuest, scan, TIMEOUT_MS } from './world.ts';

const MIB = 1 << 20;
const RNG_SLOT = 8;

describe.skipIf(noGuest)('a device of somebody else', { timeout: TIMEOUT_MS }, () => {
  const plug = (guest: Guest, mode: 'modern' | 'transitional'): Entropy => {
    const rng = new Entropy();
    attach(guest.emulator, rng, { slot: RNG_SLOT, mode, onEvent: (event) => guest.events.push(event) });
    return rng;
  };

  for (const mode of ['modern', 'transitional'] as const) {
    test(`${mode}: Linux reads it, and goes on elsewhere where it waits for it`, async () => {
      const guest = await linux();
      const rng = plug(guest, mode);
      await scan(guest);
      const { shell } = guest;
      expect(await shell.run('cat /sys/class/misc/hw_random/rng_current')).toBe('virtio_rng.0');
      const read = 'dd if=/dev/hwrng bs=16 count=4 2>/dev/null | hexdump -v -e \'16/1 "%d " "\\n"\'';
      expect(gaps(await shell.run(read))).toBe(0);
      // the last bytes that there are
      rng.dry = true;
      await shell.run(
        '(dd if=/dev/hwrng of=/tmp/bytes bs=16 count=100 2>/dev/null; echo done > /tmp/done) &',
      );
      await delay(500);
      const { position } = rng;
      const target = await linux();
      const there = plug(target, mode);
      there.dry = true;
      await moveGuest(guest.emulator, target.emulator);
      shell.follow(target.emulator);
      expect(there.position).toBe(position);
      expect(await shell.run('[ ! -e /tmp/done ] && pidof dd | wc -w')).toBe('1');
      there.flow();
      expect(await shell.run('while [ ! -e /tmp/done ]; do usleep 50000; done; wc -c < /tmp/bytes')).toBe(
        '1600',
      );
      expect(gaps(await shell.run(read))).toBe(0);
      expect([...guest.events, ...target.events]).toEqual([]);
    });
  }
});

/** In how many of the lines the numbers are not consecutive. */
function gaps(lines: string): number {
  const rows = lines.split('\n').map((line) =>
    line
      .trim()
      .split(' ')
      .map((n) => Number(n) & 0xff),
  );
  expect(rows.map((row) => row.length)).toEqual([16, 16, 16, 16]);
  return rows.filter((row) => row.some((n, i) => i > 0 && n !== (((row[i - 1] ?? 0) + 1) & 0xff))).length;
}

describe.skipIf(noGuest)('what drivers seldom do', { timeout: TIMEOUT_MS }, () => {
  test('registers are reached through configuration space (VIRTIO_PCI_CAP_PCI_CFG)', async () => {
    const guest = await linux();
    addDisk(guest, memoryDisk(5 * MIB), { mode: 'modern' });
    await scan(guest);
    const { shell } = guest;
    const config = '/sys/bus/pci/devices/0000:00:03.0/config';
    const all = (await shell.run(`hexdump -v -e '1/1 "%d "' ${config}`)).split(' ').map(Number);
    const find = (type: number): number => {
      for (let at = all[0x34] ?? 0; at !== 0; at = all[at + 1] ?? 0)
        if (all[at] === 9 && all[at + 3] === type) return at;
      throw new Error(`no capability of type ${type}`);
    };
    const [deviceCap, windowCap] = [find(4), find(5)];
    const u32 = (at: number): number => Buffer.from(all.slice(at, at + 4)).readUInt32LE();
    const write = (at: number, value: number): Promise<string> => {
      const octal = [0, 8, 16, 24].map((shift) => `\\0${((value >>> shift) & 0xff).toString(8)}`).join('');
      return shell.run(`echo -ne '${octal}' | dd of=${config} bs=4 seek=${at / 4} conv=notrunc 2>/dev/null`);
    };
    const through = async (offset: number): Promise<number> => {
      await write(windowCap + 4, all[deviceCap + 4] ?? 0);
      await write(windowCap + 8, u32(deviceCap + 8) + offset);
      await write(windowCap + 12, 4);
      return Number(
        await shell.run(
          `dd if=${config} bs=4 count=1 skip=${(windowCap + 16) / 4} 2>/dev/null | hexdump -e '1/4 "%d"'`,
        ),
      );
    };
    // capacity in sectors; seg_max
    expect([await through(0), await through(4), await through(12)]).toEqual([(5 * MIB) / 512, 0, 254]);
    // the driver has not noticed
    await shell.run('dd if=/dev/vda of=/dev/null bs=64k count=16 iflag=direct');
    expect(guest.events).toEqual([]);
  });

  test('a card that is pulled out while the guest uses it: I/O fails or waits, the machine goes on, another can be plugged in', async () => {
    const guest = await linux();
    const { attachment } = addDisk(guest, memoryDisk(new Uint8Array(randomBytes(MIB))));
    addDisk(guest, memoryDisk(2 * MIB), { slot: RNG_SLOT, mode: 'modern' });
    await scan(guest);
    const { shell } = guest;
    await shell.run('(while :; do dd if=/dev/vda of=/dev/null bs=4k iflag=direct; done) >/dev/null 2>&1 &');
    while (attachment.counters.interrupts < 50) await delay(10);
    attachment.detach();
    const { interrupts } = attachment.counters;
    expect(await shell.run('echo alive')).toBe('alive');
    await shell.run('dd if=/dev/vdb of=/dev/null bs=64k count=32 iflag=direct');
    expect(attachment.counters.interrupts).toBe(interrupts);
    // a state without it fits from now on
    const state = await guest.emulator.save_state();
    await guest.emulator.restore_state(state);
    await shell.run('dd if=/dev/vdb of=/dev/null bs=64k count=32 iflag=direct');
    addDisk(guest, memoryDisk(3 * MIB), { slot: 9 });
    await scan(guest);
    expect(await shell.run('cat /sys/block/vdc/size')).toBe('6144');
    expect(guest.events).toEqual([]);
  });
});
