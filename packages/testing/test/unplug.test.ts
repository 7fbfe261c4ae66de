// A device that is taken out of its machine while it works: the guest gives the memory of its rings and buffers to somebody else, and
// what a disk finishes and a network brings afterwards must not arrive there.
import type { LiveDevice, TransportParts } from '@virtkit/core';
import { describe, expect, test } from 'vitest';
import { MmioSlot } from '../src/host/mmio-slot.ts';
import { PciBus } from '../src/host/pci-bus.ts';
import type { Rig } from '../src/suite/rig.ts';
import { CssMachine, SLOT } from './benches.ts';
import { ALL, cardRig, diskRig, frame } from './rigs.ts';

const MARK = 0x11;

/** Takes the device out, the way its machine does it. */
function unplug<D>({ machine: { host } }: Rig<unknown, TransportParts, D>): void {
  if (host instanceof PciBus) host.unplug(SLOT);
  else if (host instanceof MmioSlot) host.unplug();
  else if (host instanceof CssMachine) host.css.detach(host.ccw);
  else throw new Error('a machine from which nothing can be taken');
}

/** Is it paused, and its status. */
function stateOf(device: Partial<LiveDevice>): readonly [boolean | undefined, number | undefined] {
  return [device.paused, device.status];
}

/** Bytes of guest memory that are not as the guest has left them. */
function changed<D>({ ram }: Rig<unknown, TransportParts, D>): number {
  return ram.bytes.reduce((count, byte) => (byte === MARK ? count : count + 1), 0);
}

describe.each(ALL)('$name', (bench) => {
  test('a disk with reads under way', async () => {
    const { rig, work, driver, world, devices } = diskRig(bench, { timing: 'async' });
    work.start();
    world.disk.fill(0x5a);
    world.held = true;
    for (let sector = 0; sector < 4; sector++) driver.read(sector, 2);
    expect(world.waiting).toBeGreaterThan(0);
    unplug(rig);
    const { device } = rig.machine;
    expect(stateOf(device)).toEqual([true, 0]);
    rig.ram.bytes.fill(MARK);
    world.held = false;
    while (world.waiting > 0) world.tick();
    await devices[0]?.idle();
    expect(changed(rig)).toBe(0);
    // put in again it is a new one, without a memory of what was under way
    device.resume();
    await devices[0]?.idle();
    expect(changed(rig)).toBe(0);
    expect(devices[0]?.inFlight).toBe(0);
  });

  test('a card with buffers, and a network that brings frames', () => {
    const { rig, work, devices, world } = cardRig(bench);
    work.start();
    const [card] = devices;
    world.deliver(frame());
    world.tick();
    const got = card?.counters.rxPackets ?? 0;
    expect(got).toBeGreaterThan(0);
    unplug(rig);
    const { device } = rig.machine;
    expect(stateOf(device)).toEqual([true, 0]);
    rig.ram.bytes.fill(MARK);
    for (let sent = 0; sent < 10; sent++) card?.receive(frame());
    card?.setLink(false);
    card?.setLink(true);
    card?.txReady();
    expect(changed(rig)).toBe(0);
    device.resume();
    expect(card?.receive(frame())).toBe(false);
    expect(changed(rig)).toBe(0);
    expect(card?.counters.rxPackets).toBe(got);
  });
});
