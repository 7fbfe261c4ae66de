/** What the compiler promises. `tsc -p test` is the judge: each @ts-expect-error must be one. */
import {
  type EarlyState,
  type StateOf,
  type TransportParts,
  type VirtioState,
  virtioDevice,
} from '@virtkit/core';
import { type BlkState, blk } from '@virtkit/device-blk';
import { type NetState, net } from '@virtkit/device-net';
import { type CcwParts, ccw } from '@virtkit/transport-ccw';
import { mmio } from '@virtkit/transport-mmio';
import { type PciParts, pci } from '@virtkit/transport-pci';
import { u8, u16, u64, type ValueOf, vmstate } from '@virtkit/vmstate';
import { describe, expect, expectTypeOf, test } from 'vitest';

const blkOnPci = virtioDevice(pci, blk);
type State = StateOf<typeof blkOnPci>;
const netOnCcw = virtioDevice(ccw, net);

/** Never called: these are for the compiler. */
function encodings(state: State): void {
  const { status, ...forgotten } = state;
  // @ts-expect-error a state without its status
  blkOnPci.encode(forgotten);
  // @ts-expect-error a status that is text
  blkOnPci.encode({ ...state, status: `${status}` });
  // @ts-expect-error 64 bits are a bigint
  blkOnPci.encode({ ...state, subsections: { features64: 1 } });
  // @ts-expect-error a queue without its index
  blkOnPci.encode({ ...state, queues: [{ num: 256, desc: 0n, transport: { vector: 1 } }] });
  // @ts-expect-error the extra state of another transport
  blkOnPci.encode({ ...state, subsections: { extraState: { state: { guestFeatures: 0n, vqs: [] } } } });
  // @ts-expect-error the state of another device type
  blkOnPci.encode({ ...state, device: { mac: new Uint8Array(6) } });
  // @ts-expect-error a request without an element
  blkOnPci.encode({ ...state, device: { requests: [{ queue: 0 }] } });
  // @ts-expect-error a whole state, of another transport and another device type
  netOnCcw.encode(state);
  const ofCcw = netOnCcw.decode(new Uint8Array());
  // @ts-expect-error channel I/O has no extra state
  netOnCcw.encode({ ...ofCcw, subsections: { extraState: {} } });
  // @ts-expect-error states are not changed in place
  state.status = 0;
  blkOnPci.encode({ ...state, status: 0, subsections: {} });
}

/** Never called either. */
function declarations(): void {
  const counted = vmstate('demo', 1).fields({ count: u16, address: u64 });
  const value: ValueOf<typeof counted> = { count: 1, address: 2n };
  // @ts-expect-error a field that nobody declared
  const more: ValueOf<typeof counted> = { count: 1, address: 2n, extra: 3 };
  // @ts-expect-error a field is forgotten
  const less: ValueOf<typeof counted> = { count: 1 };
  // @ts-expect-error a count that is no field
  counted.array('sizes', u8, (state) => state.size);
  const empty = vmstate('demo', 1);
  // @ts-expect-error a condition on a field that comes later
  empty.when((state) => state.late === 1, { early: u8 }).fields({ late: u8 });
  void [value, more, less];
}

describe('types', () => {
  test('are inferred: virtio-blk on PCI', () => {
    expectTypeOf<State>().toEqualTypeOf<VirtioState<PciParts, BlkState>>();
    expectTypeOf<State['status']>().toEqualTypeOf<number>();
    expectTypeOf<State['transport']['config']>().toEqualTypeOf<Uint8Array>();
    expectTypeOf<State['transport']['msixTable'][number]>().toEqualTypeOf<{
      readonly address: bigint;
      readonly data: number;
      readonly control: number;
    }>();
    expectTypeOf<State['queues'][number]['transport']['vector']>().toEqualTypeOf<number | undefined>();
    expectTypeOf<State['device']['requests'][number]['element']['index']>().toEqualTypeOf<number>();
    type Extra = NonNullable<NonNullable<State['subsections']['extraState']>['modernState']>;
    expectTypeOf<Extra['guestFeatures']>().toEqualTypeOf<bigint>();
    expectTypeOf<Extra['vqs'][number]['enabled']>().toEqualTypeOf<boolean>();
    expectTypeOf<State['subsections']['broken']>().toEqualTypeOf<boolean | undefined>();
  });

  test('are inferred for other pairs', () => {
    expectTypeOf<StateOf<typeof netOnCcw>>().toEqualTypeOf<VirtioState<CcwParts, NetState>>();
    expectTypeOf<StateOf<typeof netOnCcw>['subsections']['extraState']>().toEqualTypeOf<undefined>();
    const netOnMmio = virtioDevice(mmio, net);
    expectTypeOf<StateOf<typeof netOnMmio>['transport']>().toEqualTypeOf<{
      readonly hostFeaturesSel: number;
      readonly guestFeaturesSel: number;
      readonly guestPageShift: number;
    }>();
    expectTypeOf<NetState['maxQueuePairs']>().toEqualTypeOf<number | undefined>();
    expectTypeOf<NonNullable<NetState['rss']>['supportedHashTypes']>().toEqualTypeOf<number | undefined>();
  });

  test('do not let loadDevice look at what comes behind it', () => {
    type Early = Parameters<typeof blk.loadDevice>[0];
    expectTypeOf<Early>().toEqualTypeOf<EarlyState<TransportParts>>();
    expectTypeOf<Early>().not.toHaveProperty('subsections');
    expectTypeOf<Early>().not.toHaveProperty('device');
    expectTypeOf<Early>().toHaveProperty('guestFeatures');
    const curious = {
      ...blk,
      // @ts-expect-error features64 are not there yet
      loadDevice: (early: EarlyState) => [blk.saveDevice(early.subsections.features64)],
    };
    expect(curious.name).toBe('virtio-blk');
  });

  test('refuse what does not fit', () => {
    expect([encodings, declarations]).toHaveLength(2);
  });
});
