import { FLAG, HEADER_BYTES } from './requests.ts';

/** Makes a message to the front end: a header, and room for a payload. */
function message(request: number, flags: number, size: number): DataView<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(HEADER_BYTES + size));
  view.setUint32(0, request, true);
  view.setUint32(4, flags, true);
  view.setUint32(8, size, true);
  return view;
}

const bytesOf = (view: DataView<ArrayBuffer>): Uint8Array => new Uint8Array(view.buffer);

/** Makes an answer to a request, with any payload. */
export function reply(request: number, payload: Uint8Array): Uint8Array {
  const bytes = bytesOf(message(request, FLAG.VERSION | FLAG.REPLY, payload.length));
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

/** Makes an answer that is one number. */
export function replyU64(request: number, value: bigint): Uint8Array {
  const view = message(request, FLAG.VERSION | FLAG.REPLY, 8);
  view.setBigUint64(HEADER_BYTES, value, true);
  return bytesOf(view);
}

/** Makes a request of the back end that has no payload, and wants no answer. */
export function backendRequest(request: number): Uint8Array {
  return bytesOf(message(request, FLAG.VERSION, 0));
}
