// Devices that are there before the first instruction: the firmware's drivers, a boot from our disk, reboots, `initial_state`.
import { createHash, randomBytes } from 'node:crypto';
import { HostError } from '@virtkit/core';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { NetSwitch } from '@virtkit/device-net/switch';
import { V86Shell, v86Ready } from '@virtkit/lab/v86.ts';
import { attach } from '@virtkit/v86';
import type { V86 } from 'v86';
import { describe, expect, test } from 'vitest';
import { addCard, addDisk, configure, linux, machine, noGuest, scan, TIMEOUT_MS } from './world.ts';

const MIB = 1 << 20;
const SECTOR = 512;

/**
 * A boot sector that knows a disk only through the BIOS: reads sector 1, writes it to the serial line up to its first zero,
 * and then to sector 2.
 */
const BOOT_SECTOR = [
  [0xfc, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0], // cld; ds = es = 0
  [0x52], // push dx: the drive that the BIOS has booted from
  [0xb8, 0x01, 0x02, 0xbb, 0x00, 0x7e, 0xb9, 0x02, 0x00, 0xb6, 0x00, 0xcd, 0x13], // int 13h, read: one sector, to 7E00h
  [0xbe, 0x00, 0x7e, 0xba, 0xf8, 0x03], // si = 7E00h; dx = COM1
  [0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8], // lodsb; until it is 0: out dx, al
  [0x5a], // pop dx
  [0xb8, 0x01, 0x03, 0xbb, 0x00, 0x7e, 0xb9, 0x03, 0x00, 0xb6, 0x00, 0xcd, 0x13], // int 13h, write
  [0xba, 0xf8, 0x03, 0xb0, 0x0a, 0xee], // a new line to COM1
  [0xf4, 0xeb, 0xfd], // hlt, for ever
].flat();
const HALT = BOOT_SECTOR.slice(-3);
/** The keyboard controller's reset line. */
const REBOOT = [0xb0, 0xfe, 0xe6, 0x64]; // out 64h, FEh

interface Insides {
  readonly v86: {
    readonly cpu: {
      readonly mem8: { readonly byteOffset: number; readonly length: number };
      readonly wasm_memory: { readonly buffer: ArrayBuffer };
      reboot_internal(): void;
      jit_dirty_cache(from: number, to: number): void;
    };
  };
}

/** v86 puts a kernel that it is given as `bzimage` into memory once, when it is made; after a reboot it would jump into what is left. */
async function loadKernelAtReboot(emulator: V86, onReboot: () => void): Promise<void> {
  const memory = ({ v86: { cpu } }: Insides): Uint8Array =>
    new Uint8Array(cpu.wasm_memory.buffer, cpu.mem8.byteOffset, cpu.mem8.length);
  const fresh = machine();
  await v86Ready(fresh);
  const image = memory(fresh as unknown as Insides).slice();
  const insides = emulator as unknown as Insides;
  const { cpu } = insides.v86;
  const reboot = cpu.reboot_internal;
  cpu.reboot_internal = () => {
    reboot.call(cpu);
    memory(insides).set(image);
    cpu.jit_dirty_cache(0, image.length);
    onReboot();
  };
}

describe.skipIf(noGuest)('from the first instruction on', { timeout: TIMEOUT_MS }, () => {
  for (const mode of ['transitional', 'modern', 'legacy'] as const) {
    test(`SeaBIOS boots from a disk: ${mode}`, async () => {
      const disk = memoryDisk(MIB);
      disk.bytes.set(BOOT_SECTOR);
      disk.bytes.set([0x55, 0xaa], SECTOR - 2);
      disk.bytes.set(Buffer.from(`hello from a ${mode} disk`), SECTOR);
      const emulator = machine(({ bzimage, initrd, ...withoutKernel }) => withoutKernel);
      const shell = new V86Shell(emulator);
      const { attachment } = addDisk({ emulator, shell, events: [] }, disk, { mode });
      await attachment.ready;
      await emulator.run();
      await shell.waitFor(/disk\n/, TIMEOUT_MS);
      expect(shell.output.trim()).toBe(`hello from a ${mode} disk`);
      expect(disk.bytes.subarray(2 * SECTOR, 3 * SECTOR)).toEqual(disk.bytes.subarray(SECTOR, 2 * SECTOR));
    });
  }

  test('the firmware reboots: a device starts anew each time', async () => {
    const disk = memoryDisk(MIB);
    disk.bytes.set([...BOOT_SECTOR.slice(0, -HALT.length), ...REBOOT, ...HALT]);
    disk.bytes.set([0x55, 0xaa], SECTOR - 2);
    disk.bytes.set(Buffer.from('once more'), SECTOR);
    const emulator = machine(({ bzimage, initrd, ...withoutKernel }) => withoutKernel);
    const guest = { emulator, shell: new V86Shell(emulator), events: [] };
    await addDisk(guest, disk).attachment.ready;
    await emulator.run();
    await guest.shell.waitFor(/(once more\n){3}/, TIMEOUT_MS);
    expect(guest.events).toEqual([]);
  });

  test('Linux reboots: devices are reset, and found again by firmware and kernel', async () => {
    const guest = await linux();
    const disk = memoryDisk(new Uint8Array(randomBytes(MIB)));
    const lan = new NetSwitch();
    const { attachment } = addDisk(guest, disk);
    addCard(guest, lan, 1, { mode: 'modern' });
    await scan(guest);
    const { shell } = guest;
    const status: number[] = [];
    await loadKernelAtReboot(guest.emulator, () => status.push(attachment.function.device.status));
    const from = shell.output.length;
    await shell.run('dd if=/dev/vda of=/dev/null bs=64k iflag=direct');
    shell.start('reboot -f').done.catch(() => {});
    await shell.waitFor(/LAB:SHELL/, TIMEOUT_MS, from);
    expect(status).toEqual([0]);
    await shell.run('true');
    expect(await shell.run('cat /sys/bus/virtio/devices/*/device')).toBe('0x0002\n0x0001');
    expect(await shell.run('dd if=/dev/vda bs=64k iflag=direct 2>/dev/null | md5sum')).toBe(
      `${createHash('md5').update(disk.bytes).digest('hex')}  -`,
    );
    const other = await linux();
    addCard(other, lan, 2);
    await scan(other);
    await configure(guest, 1);
    await configure(other, 2);
    expect(await shell.run('ping -q -c 3 -i 0.1 10.0.0.2')).toMatch(/ 0% packet loss/);
    expect(guest.events).toEqual([]);
  });

  test('initial_state with devices', async () => {
    const guest = await linux();
    const disk = memoryDisk(new Uint8Array(randomBytes(MIB)));
    addDisk(guest, disk);
    await scan(guest);
    const read = 'dd if=/dev/vda bs=64k iflag=direct 2>/dev/null | md5sum';
    const sum = await guest.shell.run(read);
    const buffer = await guest.emulator.save_state();
    const emulator = machine((options) => ({ ...options, initial_state: { buffer }, autostart: true }));
    const shell = new V86Shell(emulator);
    const { attachment } = addDisk({ emulator, shell, events: [] }, disk);
    await attachment.ready;
    expect(await shell.run(read)).toBe(sum);
  });

  test('a slot that v86 has taken is told when there is a machine, and the machine is none the worse', async () => {
    const emulator = machine();
    const wrong = attach(emulator, new BlkDevice({ backend: memoryDisk(MIB) }), { slot: 30 });
    const right = attach(emulator, new BlkDevice({ backend: memoryDisk(MIB) }), { slot: 3 });
    await expect(wrong.ready).rejects.toThrow(HostError);
    await expect(wrong.ready).rejects.toThrow("slot 30 is taken by v86's ide");
    await right.ready;
    wrong.detach();
    right.detach();
    attach(emulator, new BlkDevice({ backend: memoryDisk(MIB) }), { slot: 3 });
  });
});
