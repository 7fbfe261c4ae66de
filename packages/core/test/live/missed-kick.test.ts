// A driver on another processor that puts something in just when kicks are asked for, and does not see that in time.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Virtqueue } from '../../src/contract/queue.ts';
import { MappedMemory } from '../../src/live/memory.ts';
import { FEATURE } from '../../src/spec.ts';
import { Echo, EchoMachine } from './echo.ts';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** Asks for no kicks while it works, as disks and cards do. */
class QuietEcho extends Echo {
  override handleQueue(queue: Virtqueue): void {
    queue.setNotification(false);
    super.handleQueue(queue);
    queue.setNotification(true);
  }
}

function machine(packed: boolean, shared: boolean, echo: Echo): EchoMachine {
  const bytes = new Uint8Array(0x10000);
  const made = new EchoMachine({
    bytes,
    echo,
    memory: new MappedMemory([{ gpa: 0, bytes, shared }]),
    rings: { packed },
  });
  made.start(packed ? [FEATURE.EVENT_IDX, FEATURE.RING_PACKED] : [FEATURE.EVENT_IDX]);
  return made;
}

const offer = (on: EchoMachine, packed: boolean): void => (packed ? on.offerPacked(0) : on.offer(0));
const served = (on: EchoMachine): number | undefined => on.live.queue(0)?.position.usedIdx;

describe.each([
  ['split', false, new Echo()],
  ['split, told not to kick', false, new QuietEcho()],
  ['packed, told not to kick', true, new QuietEcho()],
])('%s', (_, packed, echo) => {
  test('is served a little later, and nothing runs when nothing is there', () => {
    const on = machine(packed, true, echo);
    offer(on, packed);
    on.driver.kick(0);
    expect(served(on)).toBe(1);
    offer(on, packed);
    vi.runOnlyPendingTimers();
    expect(served(on)).toBe(2);
    // that it was seen is no kick of the driver's
    expect(on.live.queue(0)?.kicks).toBe(1);
    const { kicks } = echo;
    vi.runOnlyPendingTimers();
    expect(echo.kicks).toBe(kicks);
    expect(vi.getTimerCount()).toBe(0);
  });
});

test('a device that is paused, broken or reset meanwhile is left alone', () => {
  for (const end of [
    (on: EchoMachine) => on.live.pause(),
    (on: EchoMachine) => on.core.fault('for the test'),
    (on: EchoMachine) => on.driver.reset(),
  ]) {
    const on = machine(false, true, new Echo());
    offer(on, false);
    on.driver.kick(0);
    offer(on, false);
    end(on);
    vi.runAllTimers();
    expect(on.echo.kicks).toBe(1);
  }
});

test('memory that no other processor writes is not looked into again', () => {
  const on = machine(false, false, new QuietEcho());
  offer(on, false);
  on.driver.kick(0);
  expect(vi.getTimerCount()).toBe(0);
});
