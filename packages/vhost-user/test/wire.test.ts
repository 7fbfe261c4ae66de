// Messages out of bytes: whatever pieces they come in, and whatever they are.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FrontEndError } from '../src/errors.ts';
import type { Message } from '../src/wire/message.ts';
import { MessageReader } from '../src/wire/reader.ts';
import { FLAG, HEADER_BYTES, PAYLOAD_MAX, REQUEST } from '../src/wire/requests.ts';
import { fields } from './front-end.ts';

/** Requests with a payload of 64 bits. */
const NUMBERS = ['SET_FEATURES', 'SET_PROTOCOL_FEATURES', 'SET_STATUS'] as const;

const number = fc.record({
  request: fc.constantFrom(...NUMBERS),
  value: fc.bigInt(0n, 2n ** 64n - 1n),
  needReply: fc.boolean(),
});

function bytesOf({
  request,
  value,
  needReply,
}: {
  request: keyof typeof REQUEST;
  value: bigint;
  needReply: boolean;
}): Uint8Array {
  const flags = FLAG.VERSION | (needReply ? FLAG.NEED_REPLY : 0);
  return new Uint8Array([...fields(REQUEST[request], flags, 8), ...fields(value)]);
}

/** Feeds a reader with pieces of at most so many bytes. */
function read(bytes: Uint8Array, sizes: readonly number[]): Message[] {
  const reader = new MessageReader();
  const messages: Message[] = [];
  let turn = 0;
  for (let at = 0; at < bytes.length; ) {
    const { room } = reader;
    const piece = bytes.subarray(at, at + Math.min(room.length, sizes[turn++ % sizes.length] ?? 1));
    room.set(piece);
    at += piece.length;
    const arrived = reader.took(piece.length, []);
    if (arrived !== undefined) messages.push(arrived.message);
  }
  return messages;
}

test('messages are the same, whatever pieces they come in', () => {
  fc.assert(
    fc.property(
      fc.array(number, { maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
      (sent, sizes) => {
        const bytes = new Uint8Array(sent.flatMap((message) => [...bytesOf(message)]));
        expect(read(bytes, sizes)).toEqual(sent);
      },
    ),
  );
});

test('any bytes are messages or an error of the front end, and nothing beyond a message is kept', () => {
  fc.assert(
    fc.property(
      fc.nat(48),
      fc.nat(15),
      fc.uint8Array({ maxLength: PAYLOAD_MAX }),
      fc.nat(10),
      (request, flags, payload, descriptors) => {
        const reader = new MessageReader();
        const bytes = new Uint8Array([...fields(request, flags, payload.length), ...payload]);
        try {
          for (let at = 0; at < bytes.length; ) {
            const { room } = reader;
            expect(room.length).toBeLessThanOrEqual(HEADER_BYTES + PAYLOAD_MAX);
            const piece = bytes.subarray(at, at + room.length);
            room.set(piece);
            at += piece.length;
            const fds = Array.from({ length: at === piece.length ? descriptors : 0 }, (_, n) => 100 + n);
            const arrived = reader.took(piece.length, fds);
            if (arrived !== undefined) expect(arrived.descriptors).toHaveLength(descriptors);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(FrontEndError);
        }
      },
    ),
  );
});
