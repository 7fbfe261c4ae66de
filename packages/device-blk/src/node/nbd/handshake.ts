import type { Duplex } from 'node:stream';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import {
  CAN,
  FIXED_NEWSTYLE,
  INFO,
  NBD_MAGIC,
  NbdProtocolError,
  NO_ZEROES,
  nbdError,
  OLDSTYLE_MAGIC,
  OPTION,
  OPTION_MAGIC,
  OPTION_REPLY_MAGIC,
  REPLY,
  REPLY_ERROR,
  REPLY_ERRORS,
} from './protocol.ts';
import { take } from './take.ts';
import type { NbdAddress } from './uri.ts';

/** Export of a server, with what was agreed on about it. */
export interface NbdExport {
  /** Size of the export in bytes. */
  readonly size: number;
  /** Transmission flags, the bits of {@link CAN}. */
  readonly flags: number;
  /** Number of bytes that positions and lengths are multiples of, a power of two. */
  readonly blockMin: number;
  /** Largest number of bytes of one read or write. */
  readonly payloadMax: number;
  /** Form of replies, and of requests. */
  readonly replies: 'simple' | 'structured' | 'extended';
}

/** Largest number of bytes of a reply to an option; those that matter have less than 20, an error has a text. */
const OPTION_REPLY_BYTES = 1 << 16;
/** Length in bytes of the head of a reply to an option: magic number, option, type, length of the data. */
const OPTION_REPLY_HEAD_BYTES = 20;
/** Lengths in bytes of pieces of information about an export: `NBD_INFO_EXPORT`, `NBD_INFO_BLOCK_SIZE`. */
const INFO_BYTES = { EXPORT: 12, BLOCK_SIZE: 14 } as const;
/** Largest minimum block size in bytes that the protocol allows. */
const LARGEST_BLOCK_MIN = 65_536;
/** Largest number of pieces of information about an export. */
const INFO_REPLIES = 64;
/** Largest number of bytes of a read or write that a server takes which says nothing of block sizes. */
const PAYLOAD_DEFAULT = 32 << 20;

/**
 * Agrees with a server on an export. The socket that is answered is another one if there is TLS.
 *
 * @throws Error with code `EPROTO` for what the protocol forbids, `ENOENT` where there is no such export, `ECONNREFUSED` for other refusals, or the socket's
 */
export async function handshake(
  socket: Duplex,
  { exportName, tls, text }: NbdAddress,
): Promise<{ readonly socket: Duplex; readonly agreed: NbdExport }> {
  await greet(socket);
  const secure = tls === undefined ? socket : await startTls(socket, tls, text);
  const replies = await agreeOnReplies(secure);
  return { socket: secure, agreed: { ...(await go(secure, exportName, text)), replies } };
}

async function greet(socket: Duplex): Promise<void> {
  const hello = await take(socket, 16);
  if (hello.readBigUInt64BE(0) !== NBD_MAGIC) throw new NbdProtocolError('this is no NBD server');
  const kind = hello.readBigUInt64BE(8);
  if (kind === OLDSTYLE_MAGIC)
    throw new NbdProtocolError('the server speaks the oldstyle protocol, which has no negotiation');
  if (kind !== OPTION_MAGIC) throw new NbdProtocolError('this is no NBD server');
  const flags = (await take(socket, 2)).readUInt16BE(0);
  if ((flags & FIXED_NEWSTYLE) === 0)
    throw new NbdProtocolError('the server does not speak the fixed newstyle protocol');
  const answer = Buffer.alloc(4);
  answer.writeUInt32BE(FIXED_NEWSTYLE | (flags & NO_ZEROES));
  socket.write(answer);
}

/**
 * Starts TLS over a connection.
 * @returns the socket that is protected, once the server's certificate or key was found right
 */
async function startTls(socket: Duplex, options: ConnectionOptions, text: string): Promise<Duplex> {
  send(socket, OPTION.STARTTLS);
  const reply = await optionReply(socket, OPTION.STARTTLS);
  if (reply.type !== REPLY.ACK) throw refused(reply, `${text}: TLS`);
  // somebody in between has put bytes in front of those that are protected
  if (socket.readableLength > 0) throw new NbdProtocolError('bytes came unprotected after TLS was agreed on');
  return new Promise((resolve, reject) => {
    const secure = connectTls({ ...options, socket }, () => resolve(secure));
    secure.on('error', reject);
    // after that, whoever waits for bytes hears of it, too
    socket.once('close', () => secure.destroy(nbdError('ECONNRESET', `${text}: the connection ended`)));
  });
}

async function agreeOnReplies(socket: Duplex): Promise<NbdExport['replies']> {
  for (const [option, replies] of [
    [OPTION.EXTENDED_HEADERS, 'extended'],
    [OPTION.STRUCTURED_REPLY, 'structured'],
  ] as const) {
    send(socket, option);
    const { type } = await optionReply(socket, option);
    if (type === REPLY.ACK) return replies;
  }
  return 'simple';
}

async function go(socket: Duplex, exportName: string, text: string): Promise<Omit<NbdExport, 'replies'>> {
  const name = Buffer.from(exportName);
  const data = Buffer.alloc(4 + name.length + 4);
  data.writeUInt32BE(name.length, 0);
  name.copy(data, 4);
  data.writeUInt16BE(1, 4 + name.length);
  data.writeUInt16BE(INFO.BLOCK_SIZE, 6 + name.length);
  send(socket, OPTION.GO, data);
  let about: { size: number; flags: number } | undefined;
  let [blockMin, payloadMax] = [1, PAYLOAD_DEFAULT];
  for (let n = 0; n < INFO_REPLIES; n++) {
    const reply = await optionReply(socket, OPTION.GO);
    if (reply.type === REPLY.ACK) {
      if (about === undefined)
        throw new NbdProtocolError('the server says nothing of the size of the export');
      return {
        ...about,
        blockMin,
        payloadMax: Math.max(blockMin, Math.floor(payloadMax / blockMin) * blockMin),
      };
    }
    if (reply.type !== REPLY.INFO) throw refused(reply, text);
    const kind = reply.data.length >= 2 ? reply.data.readUInt16BE(0) : -1;
    if (kind === INFO.EXPORT) about = exportInfo(reply.data);
    if (kind === INFO.BLOCK_SIZE) ({ blockMin, payloadMax } = blockSizes(reply.data));
  }
  throw new NbdProtocolError(`the server says more than ${INFO_REPLIES} things about the export`);
}

function exportInfo(data: Buffer): { size: number; flags: number } {
  if (data.length !== INFO_BYTES.EXPORT)
    throw new NbdProtocolError(
      `the size of the export has ${data.length} bytes instead of ${INFO_BYTES.EXPORT}`,
    );
  const size = data.readBigUInt64BE(2);
  if (size > BigInt(Number.MAX_SAFE_INTEGER))
    throw new NbdProtocolError(`the export has ${size} bytes, which is too much`);
  const flags = data.readUInt16BE(10);
  return { size: Number(size), flags: (flags & CAN.HAS_FLAGS) === 0 ? 0 : flags };
}

function blockSizes(data: Buffer): { blockMin: number; payloadMax: number } {
  if (data.length !== INFO_BYTES.BLOCK_SIZE)
    throw new NbdProtocolError(
      `the block sizes have ${data.length} bytes instead of ${INFO_BYTES.BLOCK_SIZE}`,
    );
  const blockMin = data.readUInt32BE(2);
  const payloadMax = data.readUInt32BE(10);
  if (blockMin === 0 || blockMin > LARGEST_BLOCK_MIN || (blockMin & (blockMin - 1)) !== 0)
    throw new NbdProtocolError(
      `the server's minimum block size is ${blockMin}, not a power of two up to ${LARGEST_BLOCK_MIN}`,
    );
  if (payloadMax < blockMin)
    throw new NbdProtocolError(
      `the server's maximum block size ${payloadMax} is below its minimum ${blockMin}`,
    );
  return { blockMin, payloadMax: Math.min(payloadMax, PAYLOAD_DEFAULT) };
}

function send(socket: Duplex, option: number, data: Uint8Array = Buffer.alloc(0)): void {
  const head = Buffer.alloc(16);
  head.writeBigUInt64BE(OPTION_MAGIC, 0);
  head.writeUInt32BE(option, 8);
  head.writeUInt32BE(data.length, 12);
  socket.write(head);
  if (data.length > 0) socket.write(data);
}

interface OptionReply {
  readonly type: number;
  readonly data: Buffer;
}

async function optionReply(socket: Duplex, option: number): Promise<OptionReply> {
  const head = await take(socket, OPTION_REPLY_HEAD_BYTES);
  if (head.readBigUInt64BE(0) !== OPTION_REPLY_MAGIC)
    throw new NbdProtocolError('this is no answer to an option');
  const about = head.readUInt32BE(8);
  if (about !== option)
    throw new NbdProtocolError(`the server answers option ${about}; option ${option} was asked for`);
  const length = head.readUInt32BE(16);
  if (length > OPTION_REPLY_BYTES)
    throw new NbdProtocolError(`an answer of ${length} bytes to option ${option}`);
  return { type: head.readUInt32BE(12), data: length === 0 ? Buffer.alloc(0) : await take(socket, length) };
}

function refused({ type, data }: OptionReply, what: string): Error {
  if (type < REPLY_ERROR) return new NbdProtocolError(`${what}: the server answers with reply type ${type}`);
  const number = type - REPLY_ERROR;
  const words = REPLY_ERRORS[number] ?? `error ${number}`;
  const text = data.length > 0 ? ` (${data.toString('utf8', 0, 200)})` : '';
  return nbdError(number === 6 ? 'ENOENT' : 'ECONNREFUSED', `${what}: ${words}${text}`);
}
