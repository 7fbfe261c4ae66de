// Chains of descriptors, followed from a queue's saved indices into the guest's memory.
import { FEATURE, hasFeature, negotiated, type VirtioState } from '@virtkit/core';
import { hex } from '@virtkit/vmstate';
import type { GuestView } from './guest-pages.ts';
import type { ChainRow, QueueChains, Segment } from './types.ts';

/** Largest number of chains of a queue that are followed. */
const CHAINS_MAX = 64;
/** Largest number of descriptors of a chain: more than the largest queue of QEMU has are a loop. */
const DESCRIPTORS_MAX = 1024;
/** Largest number of entries of a queue. Virtio 1.3 §2.7, §2.8.10.1 */
const SIZE_MAX = 32768;
/** Length of a descriptor in bytes. Virtio 1.3 §2.7.5, §2.8.1 */
const DESC_BYTES = 16;
/** Alignment in bytes of a used ring whose driver gave no other. Virtio 1.3 §2.7.2 */
const LEGACY_ALIGN = 4096;
const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
/** Flags of a packed ring's descriptor. Virtio 1.3 §2.8.1 */
const AVAIL = 0x80;
const USED = 0x8000;

/** Addresses of a queue's three parts, as numbers. */
interface Ring {
  readonly size: number;
  readonly desc: number;
  readonly avail: number;
  readonly used: number;
  readonly littleEndian: boolean;
}

/** Position of the device in a packed ring, as its saved state has it. */
type PackedIndices = Pick<
  NonNullable<VirtioState['subsections']['packedVirtqueues']>[number],
  'lastAvailIdx' | 'lastAvailWrapCounter'
>;

/** Descriptor as it stands in memory. */
interface Descriptor {
  readonly address: bigint;
  readonly bytes: number;
  readonly flags: number;
  /** Number behind the flags of a packed descriptor's other half, or of the next descriptor in a split ring. */
  readonly last: number;
}

/** Order of the two 16-bit numbers at a descriptor's end: the only thing in which the formats differ. */
type Format = 'split' | 'packed';

/**
 * Follows a queue's chains into the guest's memory: those that wait for the device, and of a split ring those that it has
 * taken, by their heads.
 *
 * @param littleEndian of the machine, which is the order of legacy rings where the state has none
 */
export function followQueue(
  view: GuestView,
  state: VirtioState,
  index: number,
  heads: readonly number[],
  littleEndian: boolean,
): QueueChains {
  const ring = ringOf(state, index, littleEndian);
  const nothing = { waiting: [], more: 0, taken: [] };
  if (ring === undefined) return { ...nothing, trouble: 'the queue is not set up' };
  if (ring.size > SIZE_MAX) return { ...nothing, trouble: `the queue has ${ring.size} entries` };
  const packed = state.subsections.packedVirtqueues;
  const bytes = ring.size * DESC_BYTES;
  // the whole table is asked for at once, so that a chain through it does not need a look for each page
  const trouble = view.trouble(ring.desc, bytes) ?? view.trouble(ring.avail, 4) ?? view.trouble(ring.used, 4);
  if (trouble !== undefined) return { ...nothing, trouble };
  view.bytes(ring.desc, bytes);
  if (packed !== undefined) return followPacked(view, ring, packed[index]);
  return followSplit(view, ring, state.queues[index]?.lastAvailIdx ?? 0, heads);
}

/** Finds where a queue's parts lie; undefined while it is not set up. */
function ringOf(state: VirtioState, index: number, machineLittle: boolean): Ring | undefined {
  const queue = state.queues[index];
  if (queue === undefined || queue.desc === 0n || queue.num === 0) return undefined;
  const { num: size, align = LEGACY_ALIGN } = queue;
  const desc = Number(queue.desc);
  const { avail, used } = state.subsections.virtqueues?.[index] ?? { avail: 0n, used: 0n };
  const behind = desc + size * DESC_BYTES;
  const legacyUsed = Math.ceil((behind + 4 + 2 * size) / Math.max(align, 1)) * Math.max(align, 1);
  const { deviceEndian } = state.subsections;
  const isLittle = deviceEndian === undefined ? machineLittle : deviceEndian !== 2;
  return {
    size,
    desc,
    avail: avail === 0n ? behind : Number(avail),
    used: used === 0n ? legacyUsed : Number(used),
    littleEndian: hasFeature(negotiated(state), FEATURE.VERSION_1) || isLittle,
  };
}

function followSplit(view: GuestView, ring: Ring, lastAvail: number, heads: readonly number[]): QueueChains {
  const { size, avail, used, littleEndian } = ring;
  const availIdx = view.u16(avail + 2, littleEndian);
  const usedIdx = view.u16(used + 2, littleEndian);
  const left = (availIdx - lastAvail) & 0xffff;
  const indices = { availIdx, usedIdx };
  const taken = heads.map((head) => splitChain(view, ring, head));
  if (left > size)
    return {
      ...indices,
      waiting: [],
      more: 0,
      taken,
      trouble: `the driver's index ${availIdx} is ${left} ahead of the device's ${lastAvail}: more than the ${size} entries of the ring`,
    };
  const waiting = Array.from({ length: Math.min(left, CHAINS_MAX) }, (_, n) => {
    const slot = ((lastAvail + n) & 0xffff) % size;
    return splitChain(view, ring, view.u16(avail + 4 + 2 * slot, littleEndian));
  });
  return { ...indices, waiting, more: left - waiting.length, taken };
}

function splitChain(view: GuestView, ring: Ring, head: number): ChainRow {
  if (head >= ring.size)
    return { head, indirect: false, segments: [], problem: `head ${head} of ${ring.size} descriptors` };
  const first = descriptor(view, ring, ring.desc, head, 'split');
  if ((first.flags & INDIRECT) !== 0) return indirectChain(view, ring, head, first, 'split');
  return { head, indirect: false, ...linked(view, ring, ring.desc, ring.size, head) };
}

/** Goes from descriptor to descriptor of a table by their `next`. */
function linked(
  view: GuestView,
  ring: Ring,
  table: number,
  entries: number,
  from: number,
): { readonly segments: readonly Segment[]; readonly problem?: string } {
  const segments: Segment[] = [];
  for (let at = from; ; ) {
    const found = descriptor(view, ring, table, at, 'split');
    segments.push(segmentOf(found));
    if ((found.flags & NEXT) === 0) return { segments };
    if (found.last >= entries) return { segments, problem: `next is descriptor ${found.last} of ${entries}` };
    if (segments.length >= Math.min(entries, DESCRIPTORS_MAX))
      return { segments, problem: 'the chain is longer than its table: a loop' };
    at = found.last;
  }
}

/** Reads the table that a chain's only descriptor names. Virtio 1.3 §2.7.5.3, §2.8.7 */
function indirectChain(
  view: GuestView,
  ring: Ring,
  head: number,
  { address, bytes }: Descriptor,
  format: Format,
): ChainRow {
  const entries = Math.floor(bytes / DESC_BYTES);
  const table = Number(address);
  const none = { head, indirect: true, segments: [] };
  if (entries === 0 || bytes % DESC_BYTES !== 0)
    return { ...none, problem: `an indirect table of ${bytes} bytes` };
  const looked = Math.min(entries, DESCRIPTORS_MAX);
  const trouble = view.trouble(table, looked * DESC_BYTES);
  if (trouble !== undefined) return { ...none, problem: trouble };
  view.bytes(table, looked * DESC_BYTES);
  if (format === 'split') return { head, indirect: true, ...linked(view, ring, table, entries, 0) };
  const segments = Array.from({ length: looked }, (_, n) =>
    segmentOf(descriptor(view, ring, table, n, 'packed')),
  );
  return {
    head,
    indirect: true,
    segments,
    ...(looked < entries && { problem: `${entries - looked} descriptors more` }),
  };
}

function followPacked(view: GuestView, ring: Ring, indices: PackedIndices | undefined): QueueChains {
  const waiting: ChainRow[] = [];
  let { lastAvailIdx: slot, lastAvailWrapCounter: wrap } = indices ?? {
    lastAvailIdx: 0,
    lastAvailWrapCounter: true,
  };
  for (let passed = 0; passed < ring.size && waiting.length < CHAINS_MAX; ) {
    if (slot >= ring.size || !isAvailable(descriptor(view, ring, ring.desc, slot, 'packed'), wrap)) break;
    const { chain, slots } = packedChain(view, ring, slot);
    waiting.push(chain);
    passed += slots;
    slot += slots;
    if (slot >= ring.size) {
      slot -= ring.size;
      wrap = !wrap;
    }
  }
  return { waiting, more: 0, taken: [] };
}

/** Is a descriptor available in the lap of this wrap counter? Virtio 1.3 §2.8.1 */
function isAvailable({ flags }: Descriptor, wrap: boolean): boolean {
  return ((flags & AVAIL) !== 0) === wrap && ((flags & USED) !== 0) !== wrap;
}

function packedChain(
  view: GuestView,
  ring: Ring,
  from: number,
): { readonly chain: ChainRow; readonly slots: number } {
  const first = descriptor(view, ring, ring.desc, from, 'packed');
  if ((first.flags & INDIRECT) !== 0)
    return { chain: indirectChain(view, ring, first.last, first, 'packed'), slots: 1 };
  const segments: Segment[] = [];
  for (let n = 0; n < Math.min(ring.size, DESCRIPTORS_MAX); n++) {
    const found = descriptor(view, ring, ring.desc, (from + n) % ring.size, 'packed');
    segments.push(segmentOf(found));
    if ((found.flags & NEXT) === 0)
      return { chain: { head: found.last, indirect: false, segments }, slots: segments.length };
  }
  const problem = 'the chain is longer than the ring: a loop';
  return { chain: { head: first.last, indirect: false, segments, problem }, slots: ring.size };
}

function descriptor(
  view: GuestView,
  { littleEndian }: Ring,
  table: number,
  index: number,
  format: Format,
): Descriptor {
  const at = table + index * DESC_BYTES;
  const [flags, last] = format === 'split' ? [12, 14] : [14, 12];
  return {
    address: view.u64(at, littleEndian),
    bytes: view.u32(at + 8, littleEndian),
    flags: view.u16(at + flags, littleEndian),
    last: view.u16(at + last, littleEndian),
  };
}

function segmentOf({ address, bytes, flags }: Descriptor): Segment {
  return { address: hex(address), bytes, writable: (flags & WRITE) !== 0 };
}
