import { type Endian, elementField, elementOrder, QUEUE_MAX, type VirtQueueElement } from '@virtkit/core';
import {
  type Field,
  type Json,
  jsonError,
  type Reader,
  refine,
  StateError,
  u32,
  u64,
  vmstate,
} from '@virtkit/vmstate';

/**
 * Place of a buffer's `ndescs`, which is there if the sender offers RING_PACKED: QEMU writes it in front of the
 * element, and looks for it behind.
 */
export type NdescsPlace = 'before' | 'after';

/** Buffer of the guest that is half written, since the host's end of the port takes no more now. */
export interface PortBuffer {
  /** Index of the segment of the buffer where it goes on. */
  readonly iovIdx: number;
  /** Offset in that segment, in bytes. */
  readonly iovOffset: bigint;
  /** Addresses and lengths of the chain's buffers. */
  readonly element: VirtQueueElement;
  /** Number of ring slots that the chain takes; absent where the sender does not offer RING_PACKED. */
  readonly ndescs?: number;
  /** Place of `ndescs` in QEMU's layout of the element; undefined: it has none. */
  readonly ndescsPlace?: NdescsPlace;
  /** Byte order of the host that ran QEMU. */
  readonly byteOrder: Endian;
}

type Place = NdescsPlace | undefined;
/** Fields of a {@link PortBuffer} that are on the wire. */
type Fields = Omit<PortBuffer, 'ndescsPlace' | 'byteOrder'>;

const flag = refine(u32, (value) => value <= 1, '0 or 1');
/**
 * Field of a number of slots, which with {@link demandOut} tells the two places apart: what is no number of slots is
 * not one.
 */
const slots = refine(u32, (value) => value > 0 && value <= QUEUE_MAX, `1 to ${QUEUE_MAX}`);

function fieldsOf(place: Place, order: Endian): Field<Fields> {
  return vmstate('buffer', 1).fields({
    iovIdx: u32,
    iovOffset: u64,
    ...(place === 'before' && { ndescs: slots }),
    element: elementField(order),
    ...(place === 'after' && { ndescs: slots }),
  });
}

/** Adds to the fields on the wire how they stood there. */
function withLayout<T extends object>(fields: T, ndescsPlace: Place, byteOrder: Endian) {
  return { ...fields, ...(ndescsPlace !== undefined && { ndescsPlace }), byteOrder };
}

/** Finds the byte order of the element behind what stands in front of it. */
function orderAt(input: Reader, place: Place): Endian {
  const start = input.offset;
  input.offset += 12 + (place === 'before' ? 4 : 0);
  const order = elementOrder(input);
  input.offset = start;
  return order;
}

function readFlag(input: Reader): number {
  input.trace?.enter('elemPopped', 'elem_popped', flag.type, input.position);
  const value = flag.decode(input, undefined);
  input.trace?.leave(input.position, value);
  return value;
}

/** Makes the field of QEMU's `elem_popped`, and if it is 1, of the buffer behind it. */
export function portBuffer(place: Place): Field<PortBuffer | null> {
  return {
    type: 'struct',
    minSize: 4,
    uniform: false,
    decode: (input, context) => {
      if (readFlag(input) === 0) return null;
      const byteOrder = orderAt(input, place);
      const fields = fieldsOf(place, byteOrder).decode(input, context);
      demandOut(fields.element);
      return withLayout(fields, place, byteOrder);
    },
    encode: (output, value, context) => {
      flag.encode(output, value === null ? 0 : 1, context);
      if (value === null) return;
      const { ndescsPlace, byteOrder, ...fields } = value;
      fieldsOf(ndescsPlace, byteOrder).encode(output, fields, context);
    },
    toJSON: (value) => {
      if (value === null) return null;
      const { ndescsPlace, byteOrder, ...fields } = value;
      const json = fieldsOf(ndescsPlace, byteOrder).toJSON(fields) as Readonly<Record<string, Json>>;
      return withLayout(json, ndescsPlace, byteOrder);
    },
    fromJSON: (json) => (json === null ? null : bufferFromJson(json)),
  };
}

/** Refuses an element that gives the port nothing: it is never half written. */
function demandOut({ out, in: into }: VirtQueueElement): void {
  if (out.length > 0) return;
  const facts = { out: out.length, in: into.length };
  throw new StateError('value', 'the buffer has no segment to read', facts, { path: 'element' });
}

function bufferFromJson(json: Json): PortBuffer {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw jsonError('object', json);
  const { ndescsPlace, byteOrder, ...fields } = json as Readonly<Record<string, Json>>;
  if (byteOrder !== 'little' && byteOrder !== 'big')
    throw jsonError('little or big', byteOrder).within('byteOrder');
  if (ndescsPlace !== undefined && ndescsPlace !== 'before' && ndescsPlace !== 'after')
    throw jsonError('before or after', ndescsPlace).within('ndescsPlace');
  return withLayout(fieldsOf(ndescsPlace, byteOrder).fromJSON(fields), ndescsPlace, byteOrder);
}
