// Snapshots, wrong ones too; and what must never reach v86's loop.
import { HostError } from '@virtkit/core';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { NetSwitch } from '@virtkit/device-net/switch';
import { attach, moveGuest } from '@virtkit/v86';
import type { V86 } from 'v86';
import { describe, expect, test } from 'vitest';
import type { V86Cpu } from '../src/emulator.ts';
import { addCard, addDisk, delay, linux, noGuest, scan, TIMEOUT_MS } from './world.ts';

const MIB = 1 << 20;
const READ = 'dd if=/dev/vda bs=64k count=16 iflag=direct 2>/dev/null | md5sum';

describe.skipIf(noGuest)('snapshots', { timeout: TIMEOUT_MS }, () => {
  test('carry the devices: the guest goes on in the same instance and in a fresh one, also from an older moment', async () => {
    const backend = memoryDisk(MIB);
    const guest = await linux();
    const { blk, attachment } = addDisk(guest, backend);
    await scan(guest);
    const sum = await guest.shell.run(READ);
    const state = await guest.emulator.save_state();
    const saved = attachment.function.device.capture();
    await guest.shell.run(READ);
    await guest.emulator.restore_state(state);
    expect(attachment.function.device.capture()).toEqual(saved);
    expect(await guest.shell.run(READ)).toBe(sum);
    expect(blk.inFlight).toBe(0);
    const other = await linux();
    addDisk(other, backend);
    await other.emulator.restore_state(state);
    await other.emulator.run();
    other.shell.follow(other.emulator);
    expect(await other.shell.run(READ)).toBe(sum);
  });

  test('made with other devices: refused, and nothing has changed', async () => {
    const guest = await linux();
    addDisk(guest, memoryDisk(MIB));
    await scan(guest);
    const sum = await guest.shell.run(READ);
    const state = await guest.emulator.save_state();
    const refused = async (prepare: (guest: Awaited<ReturnType<typeof linux>>) => void): Promise<string> => {
      const other = await linux();
      prepare(other);
      const before = other.emulator.get_instruction_counter();
      const error = await other.emulator.restore_state(state).then(
        () => undefined,
        (error: unknown) => error,
      );
      expect(other.emulator.get_instruction_counter()).toBe(before);
      await other.emulator.run();
      expect(await other.shell.run('echo alive')).toBe('alive');
      return (error as Error | undefined)?.message ?? 'restored';
    };
    const has = 'the snapshot has virtkit devices: virtio-blk in slot 3; attached are: ';
    expect(await refused((other) => addCard(other, new NetSwitch(), 1))).toBe(`${has}virtio-net in slot 4`);
    expect(await refused((other) => addDisk(other, memoryDisk(MIB), { slot: 8 }))).toBe(
      `${has}virtio-blk in slot 8`,
    );
    // the same kind in the same slot, but made in another way: found out by the device's own bytes
    expect(await refused((other) => addDisk(other, memoryDisk(MIB), { mode: 'modern' }))).toMatch(
      /virtio-blk in slot 3|i=0x2/,
    );
    expect(await guest.shell.run(READ)).toBe(sum);
    // without devices, a state that has none
    const plain = await linux();
    const bare = await plain.emulator.save_state();
    const error = await guest.emulator.restore_state(bare).catch((error: unknown) => error);
    expect(String(error)).toContain(
      'the snapshot has virtkit devices: none; attached are: virtio-blk in slot 3',
    );
    expect(await guest.shell.run(READ)).toBe(sum);
  });

  test('with damaged device bytes: refused behind the restore of v86 too, and everything is as it was', async () => {
    const guest = await linux();
    const { attachment } = addDisk(guest, memoryDisk(MIB));
    await scan(guest);
    const sum = await guest.shell.run(READ);
    const state = await guest.emulator.save_state();
    // fewer requests taken than given back: only guest memory tells
    const { device } = attachment.function;
    const broken = device.capture();
    const queue = broken.queues[0];
    if (queue === undefined) throw new Error('no queue');
    const capture = device.capture.bind(device);
    const wrong = { ...broken, queues: [{ ...queue, lastAvailIdx: (queue.lastAvailIdx - 1) & 0xffff }] };
    device.capture = () => wrong as never;
    const damaged = await guest.emulator.save_state();
    device.capture = capture;
    const running = guest.shell.start('sleep 1; echo later');
    await expect(guest.emulator.restore_state(damaged)).rejects.toThrow('last_avail_idx');
    expect((await running.done).output).toBe('later');
    expect(await guest.shell.run(READ)).toBe(sum);
    await guest.emulator.restore_state(state);
    expect(await guest.shell.run(READ)).toBe(sum);
  });

  test('a move to an instance that does not fit: the source goes on', async () => {
    const guest = await linux();
    addDisk(guest, memoryDisk(MIB));
    await scan(guest);
    const sum = await guest.shell.run(READ);
    const target = await linux();
    await expect(moveGuest(guest.emulator, target.emulator)).rejects.toThrow();
    expect(guest.emulator.is_running()).toBe(true);
    expect(await guest.shell.run(READ)).toBe(sum);
    await expect(moveGuest(guest.emulator, guest.emulator)).rejects.toThrow(HostError);
  });
});

describe.skipIf(noGuest)('an emulator whose last device was taken away', { timeout: TIMEOUT_MS }, () => {
  const plug = (emulator: V86) => attach(emulator, new BlkDevice({ backend: memoryDisk(MIB) }), { slot: 3 });

  test('refuses a snapshot that has devices, and takes one that has none', async () => {
    const { emulator } = await linux();
    const bare = await emulator.save_state();
    const disk = plug(emulator);
    await disk.ready;
    const state = await emulator.save_state();
    disk.detach();
    expect([disk.function.device.paused, disk.function.device.status]).toEqual([true, 0]);
    await expect(emulator.restore_state(state)).rejects.toThrow(
      'the snapshot has virtkit devices: virtio-blk in slot 3; attached are: none',
    );
    await emulator.restore_state(bare);
    const again = plug(emulator);
    await again.ready;
    await emulator.restore_state(state);
    await expect(emulator.restore_state(bare)).rejects.toThrow('the snapshot has virtkit devices: none');
  });

  test('keeps what the program has hooked since', async () => {
    const { emulator } = await linux();
    const disk = plug(emulator);
    await disk.ready;
    const { cpu } = (emulator as V86 & { v86: { cpu: V86Cpu } }).v86;
    const calls: string[] = [];
    const { reboot_internal, get_state } = cpu;
    cpu.reboot_internal = () => {
      calls.push('reboot');
      reboot_internal.call(cpu);
    };
    cpu.get_state = () => {
      calls.push('state');
      return get_state.call(cpu);
    };
    disk.detach();
    await emulator.save_state();
    cpu.reboot_internal();
    await plug(emulator).ready;
    await emulator.save_state();
    expect(calls).toEqual(['state', 'reboot', 'state']);
  });
});

describe.skipIf(noGuest)('mistakes', { timeout: TIMEOUT_MS }, () => {
  test('a back end that throws is an I/O error; a handler that throws is an event, and the guest goes on', async () => {
    const guest = await linux();
    const { attachment } = addDisk(guest, memoryDisk(MIB));
    await scan(guest);
    const { shell } = guest;
    await shell.run(READ);
    const { device } = attachment.function;
    const { model } = device;
    const handleQueue = model.handleQueue.bind(model);
    model.handleQueue = () => {
      model.handleQueue = handleQueue;
      throw new Error('the host program is wrong');
    };
    const stuck = shell.start(READ);
    while (guest.events.length === 0) await delay(20);
    expect(guest.events).toMatchObject([
      { name: 'error', device: 'virtio-blk', reason: 'the host program is wrong', facts: { slot: 3 } },
    ]);
    // the kick was lost; a device that goes on finds what waits
    device.pause();
    device.resume();
    expect((await stuck.done).status).toBe(0);
    expect(await shell.run('echo alive')).toBe('alive');
  });

  test('slots: out of range, taken by another device, taken by v86', async () => {
    const guest = await linux();
    const device = (): BlkDevice => new BlkDevice({ backend: memoryDisk(MIB) });
    const { emulator } = guest;
    expect(() => attach(emulator, device(), { slot: 1 })).toThrow('slot 1: 2 to 31 expected');
    expect(() => attach(emulator, device(), { slot: 3.5 })).toThrow(HostError);
    const first = attach(emulator, device(), { slot: 3 });
    expect(() => attach(emulator, device(), { slot: 3 })).toThrow('slot 3 has a virtio-blk already');
    expect(() => attach(emulator, device(), { slot: 18 })).toThrow(/slot 18 is taken by v86's/);
    first.detach();
    first.detach();
    attach(emulator, device(), { slot: 3 }).detach();
    expect(() => attach({} as never, device(), { slot: 3 })).toThrow('no V86');
    expect(() => attach(emulator, device(), { slot: 3, mode: 'legacy', modernPioNotify: true })).toThrow(
      HostError,
    );
  });
});
