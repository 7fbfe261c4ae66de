// What a live device does with kicks, wherever they come from.
import { describe, expect, test } from 'vitest';
import { STATUS } from '../../src/spec.ts';
import { EchoMachine } from './echo.ts';

/** Lets what waits for the end of the present call happen. */
const settled = (): Promise<void> => Promise.resolve();

describe('an interrupt that reaches its own device', () => {
  test('a kick from inside of an interrupt waits until the device type has returned', () => {
    const machine = new EchoMachine();
    const { core, echo } = machine;
    machine.start();
    for (let i = 0; i < 8; i++) machine.offer(0);
    machine.onInterrupt = () => {
      core.kick(0);
      core.kick(1);
    };
    machine.offer(1);
    core.kick(0);
    expect([machine.used(0), machine.used(1), echo.deepest]).toEqual([8, 1, 1]);
    expect(machine.interrupts).toBe(9);
  });

  test('as often as the driver likes: the stack does not grow', () => {
    const machine = new EchoMachine();
    const { core, echo } = machine;
    machine.start();
    let rounds = 0;
    machine.onInterrupt = () => {
      // a driver that runs inside of the interrupt, and has the next request ready
      if (rounds++ < 50_000) machine.offer(0);
      core.kick(0);
    };
    machine.offer(0);
    core.kick(0);
    expect(rounds).toBe(50_001);
    expect([machine.used(0), echo.deepest]).toEqual([50_001 & 0xffff, 1]);
  });

  test('when a back end answers, a kick comes after the answer', async () => {
    const machine = new EchoMachine();
    const { core, echo } = machine;
    echo.slow = true;
    machine.start();
    for (let i = 0; i < 4; i++) machine.offer(0);
    core.kick(0);
    expect(echo.kept).toHaveLength(4);
    machine.onInterrupt = () => {
      machine.offer(1);
      core.kick(1);
    };
    echo.answer();
    expect([echo.kept.length, echo.deepest]).toEqual([0, 1]);
    await settled();
    expect([echo.kept.length, echo.deepest]).toEqual([4, 1]);
    expect(machine.used(0)).toBe(4);
  });

  test('a configuration change is an interrupt as well', async () => {
    const machine = new EchoMachine();
    const { core, echo } = machine;
    machine.start();
    machine.offer(0);
    machine.onInterrupt = (queue) => {
      if (queue === -1) core.kick(0);
    };
    core.notifyConfig();
    expect(echo.kicks).toBe(0);
    await settled();
    expect([echo.kicks, machine.used(0)]).toEqual([1, 1]);
  });

  test('a kick that waits is forgotten with a reset, and kept by a pause', async () => {
    const machine = new EchoMachine();
    const { live, core, echo } = machine;
    machine.start();
    machine.onInterrupt = () => core.kick(0);
    core.notifyConfig();
    live.reset();
    await settled();
    expect(echo.kicks).toBe(0);
    machine.start();
    machine.offer(0);
    core.notifyConfig();
    live.pause();
    await settled();
    expect(echo.kicks).toBe(0);
    live.resume();
    expect(machine.used(0)).toBe(1);
  });

  test('its bit is set when it comes', () => {
    const machine = new EchoMachine();
    const { core } = machine;
    const seen: number[] = [];
    machine.onInterrupt = () => {
      const { driver } = machine;
      seen.push(driver.isr);
      driver.acknowledge(driver.isr);
    };
    machine.start();
    machine.offer(0);
    core.kick(0);
    core.notifyConfig();
    // QEMU sets both for a configuration change
    expect(seen).toEqual([1, 3]);
  });

  test('what an interrupt throws goes to whoever caused it, and the device goes on', () => {
    const machine = new EchoMachine();
    const { core } = machine;
    machine.start();
    machine.offer(0);
    machine.onInterrupt = () => {
      throw new Error('no such interrupt');
    };
    expect(() => core.kick(0)).toThrow('no such interrupt');
    machine.onInterrupt = () => {};
    machine.echo.depth = 0;
    machine.offer(0);
    core.kick(0);
    expect(machine.used(0)).toBe(2);
  });
});

describe('a kick for nothing', () => {
  test('changes nothing, however often it comes', () => {
    const machine = new EchoMachine();
    machine.start();
    machine.offer(0);
    machine.core.kick(0);
    const before = machine.bytes.slice();
    for (let i = 0; i < 100; i++) {
      machine.core.kick(0);
      machine.core.kick(1);
    }
    expect([machine.interrupts, machine.used(0), machine.used(1)]).toEqual([1, 1, 0]);
    expect(Buffer.compare(machine.bytes, before)).toBe(0);
    expect(machine.events).toEqual([]);
  });
});

describe('a device that needs a reset', () => {
  test('says so in its status, and by a configuration change to a driver that runs', () => {
    for (const running of [false, true]) {
      const machine = new EchoMachine();
      const { live, core } = machine;
      const told: number[] = [];
      machine.onInterrupt = (queue) => told.push(queue);
      machine.start();
      if (!running) core.setStatus(live.status & ~STATUS.DRIVER_OK);
      core.fault('the guest did something wrong');
      expect(live.status & STATUS.NEEDS_RESET).toBe(STATUS.NEEDS_RESET);
      expect(told).toEqual(running ? [-1] : []);
      live.reset();
      expect(live.status).toBe(0);
    }
  });
});
