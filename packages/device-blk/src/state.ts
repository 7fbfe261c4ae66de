import { type Endian, elementField, elementOrder, type VirtQueueElement } from '@virtkit/core';
import {
  type Field,
  isStateError,
  type Json,
  jsonError,
  type Reader,
  StateError,
  u32,
  type Writer,
} from '@virtkit/vmstate';

/** A request that failed with error policy "stop" and waits to be tried again. */
export interface BlkRequest {
  /** Queue that it came from; on the wire only if the device was made with more than one. */
  readonly queue?: number;
  /** Ring slots that it takes; on the wire only if the sender offered RING_PACKED. */
  readonly ndescs?: number;
  /** The request's chain: addresses and lengths of its buffers. */
  readonly element: VirtQueueElement;
}

/** Layout of the requests on the wire: facts of the sender that the stream tells only by what fits. */
export interface BlkLayout {
  /** A queue number stands in front of each request. */
  readonly queue: boolean;
  /**
   * Place of a request's `ndescs`. QEMU writes it in front of the element and looks for it behind: `before` is what
   * QEMU's streams have, `after` is what QEMU can load.
   */
  readonly ndescs: 'none' | 'before' | 'after';
  /** Byte order of the host that ran QEMU. */
  readonly byteOrder: Endian;
}

/** Part of the state that QEMU's `save_device` writes. QEMU: `virtio_blk_save_device`. */
export interface BlkState {
  /** Requests to be tried again, the last failed first. A healthy device has none. */
  readonly requests: readonly BlkRequest[];
  /** Layout in which the requests were written. Absent without requests. */
  readonly layout?: BlkLayout;
}

/** Largest number of requests: 1024 queues of 1024 entries cannot have more. The bytes run out long before. */
const REQUESTS_MAX = 1024 * 1024;

/** The request list in one of its layouts. Byte order `auto`: as the first element says. */
export function requestList(
  layout: Omit<BlkLayout, 'byteOrder'> & { readonly byteOrder: Endian | 'auto' },
): Field<BlkState> {
  return {
    type: 'request list',
    minSize: 1,
    decode: (input) => decodeList(input, layout),
    encode: (output, state) => encodeList(output, state, layout),
    toJSON,
    fromJSON,
  };
}

function decodeList(input: Reader, layout: Parameters<typeof requestList>[0]): BlkState {
  const requests: BlkRequest[] = [];
  let order: Endian | undefined = layout.byteOrder === 'auto' ? undefined : layout.byteOrder;
  while (input.u8() !== 0) {
    const name = `requests[${requests.length}]`;
    const start = input.position;
    if (requests.length >= REQUESTS_MAX)
      throw new StateError(
        'count',
        `more than ${REQUESTS_MAX} requests`,
        { limit: REQUESTS_MAX },
        { offset: start },
      );
    input.trace?.enter(name, name, 'struct', start);
    try {
      order ??= orderOf(input, layout);
      const request = decodeRequest(input, layout, order);
      input.trace?.leave(input.position, request);
      requests.push(request);
    } catch (error) {
      throw isStateError(error) ? error.within(name, undefined, start) : error;
    }
  }
  if (order === undefined || requests.length === 0) return { requests };
  return { requests, layout: { queue: layout.queue, ndescs: layout.ndescs, byteOrder: order } };
}

/** Looks at the first element, behind what stands in front of it. */
function orderOf(input: Reader, { queue, ndescs }: Pick<BlkLayout, 'queue' | 'ndescs'>): Endian {
  const start = input.offset;
  input.offset += (queue ? 4 : 0) + (ndescs === 'before' ? 4 : 0);
  const order = elementOrder(input);
  input.offset = start;
  return order;
}

function decodeRequest(
  input: Reader,
  layout: Pick<BlkLayout, 'queue' | 'ndescs'>,
  order: Endian,
): BlkRequest {
  const read = <T>(name: string, field: Field<T>): T => {
    const start = input.position;
    input.trace?.enter(name, name, field.type, start);
    try {
      const value = field.decode(input, undefined);
      input.trace?.leave(input.position, value);
      return value;
    } catch (error) {
      throw isStateError(error) ? error.within(name, undefined, start) : error;
    }
  };
  const queue = layout.queue ? { queue: read('queue', u32) } : {};
  const before = layout.ndescs === 'before' ? { ndescs: read('ndescs', u32) } : {};
  const element = read('element', elementField(order));
  const after = layout.ndescs === 'after' ? { ndescs: read('ndescs', u32) } : {};
  return { ...queue, ...before, ...after, element };
}

function encodeList(output: Writer, state: BlkState, layout: Parameters<typeof requestList>[0]): void {
  const order = layout.byteOrder === 'auto' ? 'little' : layout.byteOrder;
  const element = elementField(order);
  state.requests.forEach((request, index) => {
    const number = (name: 'queue' | 'ndescs', wanted: boolean): void => {
      const value = request[name];
      if (wanted !== (value !== undefined)) {
        const reason = wanted
          ? 'required in this layout, and the request does not have it'
          : 'the request has it, and the layout has no place for it';
        throw new StateError(
          wanted ? 'missing' : 'unexpected',
          reason,
          {},
          { path: `requests[${index}].${name}` },
        );
      }
    };
    number('queue', layout.queue);
    number('ndescs', layout.ndescs !== 'none');
    output.u8(1);
    if (request.queue !== undefined) u32.encode(output, request.queue, undefined);
    if (request.ndescs !== undefined && layout.ndescs === 'before')
      u32.encode(output, request.ndescs, undefined);
    element.encode(output, request.element, undefined);
    if (request.ndescs !== undefined && layout.ndescs === 'after')
      u32.encode(output, request.ndescs, undefined);
  });
  output.u8(0);
}

const jsonElement = elementField('little');

function toJSON({ requests, layout }: BlkState): Json {
  return {
    requests: requests.map(({ element, ...numbers }) => ({
      ...numbers,
      element: jsonElement.toJSON(element),
    })),
    ...(layout !== undefined && { layout: { ...layout } }),
  };
}

function fromJSON(json: Json): BlkState {
  const { requests, layout } = object(json);
  if (!Array.isArray(requests)) throw jsonError('array', requests).within('requests');
  return {
    requests: requests.map((item: Json) => {
      const { queue, ndescs, element } = object(item);
      return {
        ...(queue !== undefined && { queue: u32.fromJSON(queue) }),
        ...(ndescs !== undefined && { ndescs: u32.fromJSON(ndescs) }),
        element: jsonElement.fromJSON(element ?? null),
      };
    }),
    ...(layout !== undefined && { layout: layoutFromJSON(layout) }),
  };
}

function layoutFromJSON(json: Json): BlkLayout {
  const { queue, ndescs, byteOrder } = object(json);
  if (typeof queue !== 'boolean') throw jsonError('true or false', queue).within('layout.queue');
  if (ndescs !== 'none' && ndescs !== 'before' && ndescs !== 'after')
    throw jsonError('none, before or after', ndescs).within('layout.ndescs');
  if (byteOrder !== 'little' && byteOrder !== 'big')
    throw jsonError('little or big', byteOrder).within('layout.byteOrder');
  return { queue, ndescs, byteOrder };
}

function object(json: Json): Readonly<Record<string, Json>> {
  if (typeof json === 'object' && json !== null && !Array.isArray(json))
    return json as Readonly<Record<string, Json>>;
  throw jsonError('object', json);
}
