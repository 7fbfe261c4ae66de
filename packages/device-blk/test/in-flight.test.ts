// A state whose list of requests in flight says something else than the ring: refused, and nothing has changed.
import { isStateError } from '@virtkit/vmstate';
import { describe, expect, test } from 'vitest';
import { BlkDevice } from '../src/index.ts';
import type { BlkRequest } from '../src/state.ts';
import { Machine, type State } from './machine.ts';
import { SlowDisk, settle } from './slow-disk.ts';

const FORMATS = [
  ['split', {}],
  ['packed', { packed: true }],
  ['split, IN_ORDER', { inOrder: true }],
  ['packed, IN_ORDER', { packed: true, inOrder: true }],
] as const;

type Requests = readonly BlkRequest[];
const renamed = (request: BlkRequest, index: number): BlkRequest => ({
  ...request,
  element: { ...request.element, index },
});

describe.each(FORMATS)('%s', (_, rings) => {
  const machine = (): { disk: SlowDisk; m: Machine } => {
    const disk = new SlowDisk(new Uint8Array(1 << 20).fill(7));
    return { disk, m: new Machine(new BlkDevice({ backend: disk, queueSize: 16 }), { rings }) };
  };

  /** Three requests in flight, after others that came back in another order. */
  async function saved(): Promise<{ m: Machine; state: State }> {
    const { disk, m } = machine();
    for (let i = 0; i < 5; i++) m.read(i, 512);
    // the first one that waits is the device's own look at the disk
    for (const which of [2, 1]) {
      disk.finish(which);
      await settle();
    }
    const state = m.live.capture();
    expect(state.device.requests).toHaveLength(3);
    return { m, state };
  }

  const withRequests = (state: State, change: (requests: Requests) => Requests): State => ({
    ...state,
    device: { ...state.device, requests: change(state.device.requests) },
  });

  test('a true list is restored, and everything is done once', async () => {
    const { m, state } = await saved();
    const { disk, m: other } = machine();
    other.ram.set(m.ram);
    disk.begun.length = 0;
    other.live.restore(state);
    other.live.resume();
    await disk.finishAll();
    expect([disk.begun.length, other.disk.inFlight]).toEqual([3, 0]);
    expect(other.live.queue(0)?.position.inuse).toBe(0);
    expect(other.faults).toEqual([]);
  });

  test.each<[string, string, (requests: Requests) => Requests]>([
    ['one is missing', 'request-count', (list) => list.slice(1)],
    ['none is there', 'request-count', () => []],
    ['one is there twice', 'request-twice', (list) => [...list, ...list.slice(0, 1)]],
    ['one stands for another', 'request-twice', ([a, b]) => (a && b ? [a, a, b] : [])],
    [
      'one too many',
      'request-count',
      (list) => [...list, ...list.slice(0, 1).map((one) => renamed(one, 15))],
    ],
    [
      'a head that the ring has not',
      'request-index',
      (list) => list.map((one, i) => (i === 0 ? renamed(one, 400) : one)),
    ],
  ])('%s: %s', async (_name, code, change) => {
    const { m, state } = await saved();
    const { disk, m: other } = machine();
    other.ram.set(m.ram);
    const before = JSON.stringify(other.live.capture(), show);
    disk.begun.length = 0;
    const lying = withRequests(state, change);
    let thrown: unknown;
    try {
      other.live.restore(lying);
    } catch (error) {
      thrown = error;
    }
    if (!isStateError(thrown)) throw new Error(`not refused: ${String(thrown)}`);
    expect(thrown.code).toBe(code);
    expect(JSON.stringify(other.live.capture(), show)).toBe(before);
    expect([disk.begun, other.disk.inFlight]).toEqual([[], 0]);
  });

  test('the refusal has both numbers, and the heads', async () => {
    const { m, state } = await saved();
    const { m: other } = machine();
    other.ram.set(m.ram);
    const finding = other.live
      .check(withRequests(state, (list) => list.slice(1)))
      .find(({ severity }) => severity === 'error');
    const slots = 'packed' in rings ? 9 : 3;
    const listed = 'packed' in rings ? 6 : 2;
    expect(finding?.facts).toMatchObject({ queue: 0, inuse: slots, listed });
    const heads = state.device.requests.slice(1).map(({ element }) => element.index);
    expect(finding?.facts['heads']).toBe(heads.join(', '));
    expect(finding?.reason).toContain(`(${heads.join(', ')})`);
    expect(finding?.reason).toContain(
      `${slots} ${'packed' in rings ? 'slots' : 'chains'} of queue 0 are in flight`,
    );
  });

  test('requests that somebody else keeps are in the ring and not in the list', async () => {
    const { m, state } = await saved();
    const { disk, m: other } = machine();
    other.ram.set(m.ram);
    const [kept, ...rest] = state.device.requests;
    if (kept === undefined) throw new Error('no request');
    const withheld = [{ queue: 0, path: 'kept', ...kept }];
    disk.begun.length = 0;
    other.live.restore({ ...state, device: { ...state.device, requests: rest } }, { withheld });
    other.live.resume();
    await disk.finishAll();
    expect(disk.begun).toHaveLength(2);
    expect(other.live.queue(0)?.position.inuse).toBeGreaterThan(0);
    // twice in the list, and kept: that is one too many
    expect(other.live.check(state, { withheld }).map(({ code }) => code)).toContain('request-twice');
  });

  if ('inOrder' in rings)
    test('IN_ORDER: a head that was not taken has no place among those that go back', async () => {
      const { m, state } = await saved();
      const { m: other } = machine();
      other.ram.set(m.ram);
      const lying = withRequests(state, (list) => list.map((one, i) => (i === 0 ? renamed(one, 15) : one)));
      expect(other.live.check(lying).map(({ code }) => code)).toContain('request-order');
    });

  if ('inOrder' in rings && 'packed' in rings)
    test('IN_ORDER: a chain that the guest cut into two afterwards is not given back twice', async () => {
      const { m, state } = await saved();
      const { m: other } = machine();
      other.ram.set(m.ram);
      const usedIdx = state.subsections.packedVirtqueues?.[0]?.usedIdx ?? 0;
      const flags = m.ring(0).desc + 16 * usedIdx + 14;
      other.view.setUint16(flags, other.view.getUint16(flags, true) & ~1, true);
      expect(other.live.check(state).map(({ code }) => code)).toEqual(['request-order']);
    });

  test('a broken device is restored as it is: its reset forgets everything', async () => {
    const { m, state } = await saved();
    const { m: other } = machine();
    other.ram.set(m.ram);
    other.live.restore({
      ...withRequests(state, (list) => list.slice(1)),
      subsections: { ...state.subsections, broken: true },
    });
    expect(other.live.broken).toBe(true);
    other.live.reset();
    expect(other.disk.inFlight).toBe(0);
  });
});

function show(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `0x${value.toString(16)}` : value;
}
