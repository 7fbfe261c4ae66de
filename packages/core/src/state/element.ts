import {
  array,
  type Field,
  hex,
  type Json,
  type Reader,
  StateError,
  u32,
  u64,
  type ValueOf,
  vmstate,
  type Writer,
} from '@virtkit/vmstate';
import type { Endian } from '../contract/device.ts';
import type { Segment, VirtQueueElement } from '../contract/element.ts';

/** Largest number of segments of one direction in a request. QEMU: `VIRTQUEUE_MAX_SIZE`. */
export const ELEMENT_SEGMENTS_MAX = 1024;
/** Length of a saved element in bytes: QEMU's `sizeof(VirtQueueElementOld)` on a 64-bit host. */
export const ELEMENT_BYTES = 49168;

const IN_ADDR = 16;
const OUT_ADDR = IN_ADDR + 8 * ELEMENT_SEGMENTS_MAX;
const IN_SG = OUT_ADDR + 8 * ELEMENT_SEGMENTS_MAX;
const OUT_SG = IN_SG + 16 * ELEMENT_SEGMENTS_MAX;

/** Declaration of a segment, for its JSON form and its checks; the bytes of an element are {@link elementField}'s. */
const segment = vmstate('segment', 1).fields({ addr: u64, len: u64 });

/**
 * A `VirtQueueElement` as QEMU dumps it: a C structure in the byte order of the host that ran QEMU, always 49168 bytes.
 * Unused entries are zero and are ignored when read, as QEMU does.
 */
export function elementField(order: Endian): Field<VirtQueueElement> {
  const little = order === 'little';
  return {
    type: 'buffer',
    minSize: ELEMENT_BYTES,
    decode: (input) => decodeElement(input, little),
    encode: (output, element) => encodeElement(output, element, little),
    toJSON: ({ index, out, in: into }) => ({
      index,
      out: out.map((s) => segment.toJSON(s)),
      in: into.map((s) => segment.toJSON(s)),
    }),
    fromJSON: elementFromJSON,
  };
}

/** Finds the byte order in which the element at the cursor makes sense; little-endian where both do. */
export function elementOrder(input: Reader): Endian {
  if (input.remaining < 12) return 'little';
  const plausible = (little: boolean): boolean =>
    [4, 8].every((at) => input.view.getUint32(input.offset + at, little) <= ELEMENT_SEGMENTS_MAX);
  return !plausible(true) && plausible(false) ? 'big' : 'little';
}

function decodeElement(input: Reader, little: boolean): VirtQueueElement {
  const base = input.take(ELEMENT_BYTES);
  const { view } = input;
  const count = (at: number, path: string): number => {
    const found = view.getUint32(base + at, little);
    if (found <= ELEMENT_SEGMENTS_MAX) return found;
    // QEMU aborts here
    throw new StateError(
      'count',
      `${found} segments, at most ${ELEMENT_SEGMENTS_MAX} allowed`,
      { count: found, limit: ELEMENT_SEGMENTS_MAX },
      { path, offset: input.base + base + at },
    );
  };
  const outNum = count(4, 'outNum');
  const inNum = count(8, 'inNum');
  const segments = (length: number, addr: number, sg: number): Segment[] =>
    Array.from({ length }, (_, i) => ({
      addr: view.getBigUint64(base + addr + 8 * i, little),
      len: view.getBigUint64(base + sg + 16 * i + 8, little),
    }));
  return {
    index: view.getUint32(base, little),
    out: segments(outNum, OUT_ADDR, OUT_SG),
    in: segments(inNum, IN_ADDR, IN_SG),
  };
}

function encodeElement(output: Writer, element: VirtQueueElement, little: boolean): void {
  for (const list of [element.out, element.in]) {
    if (list.length > ELEMENT_SEGMENTS_MAX) {
      throw new StateError('count', `${list.length} segments, at most ${ELEMENT_SEGMENTS_MAX} allowed`, {
        count: list.length,
        limit: ELEMENT_SEGMENTS_MAX,
      });
    }
  }
  const base = output.reserve(ELEMENT_BYTES);
  output.bytes.fill(0, base, base + ELEMENT_BYTES);
  const { view } = output;
  view.setUint32(base, element.index, little);
  view.setUint32(base + 4, element.out.length, little);
  view.setUint32(base + 8, element.in.length, little);
  const segments = (list: readonly Segment[], addr: number, sg: number): void =>
    list.forEach((item, i) => {
      view.setBigUint64(base + addr + 8 * i, item.addr, little);
      view.setBigUint64(base + sg + 16 * i + 8, item.len, little);
    });
  segments(element.out, OUT_ADDR, OUT_SG);
  segments(element.in, IN_ADDR, IN_SG);
}

function elementFromJSON(json: Json): VirtQueueElement {
  const source = elementJson.fromJSON(json);
  if (source.index > 0xffffffff) throw new StateError('json', `index ${hex(source.index)} is too large`);
  return source;
}

/** Declaration of an element's JSON form, for its checks. The counts on the wire are the lengths of its arrays. */
const elementJson = vmstate('VirtQueueElement', 1).fields({
  index: u32,
  out: anyLength(segment),
  in: anyLength(segment),
});

function anyLength<T>(element: Field<T>): Field<readonly T[]> {
  return {
    ...array(element, 0),
    fromJSON: (json) => {
      if (!Array.isArray(json)) throw new StateError('json', 'array of segments expected');
      return array(element, json.length).fromJSON(json);
    },
  };
}

/** Type of an element as declared above, which keeps interface and JSON form the same. */
type Declared = ValueOf<typeof elementJson>;
const sameShape = (declared: Declared): VirtQueueElement => declared;
void sameShape;
