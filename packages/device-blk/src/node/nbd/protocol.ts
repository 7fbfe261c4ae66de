/** Numbers of the NBD protocol, as https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md has them. */

/** Magic number that both sides say first. */
export const NBD_MAGIC = 0x4e42444d41474943n;
export const OPTION_MAGIC = 0x49484156454f5054n;
export const OPTION_REPLY_MAGIC = 0x0003e889045565a9n;
/** Magic number that a server without negotiation says instead of {@link OPTION_MAGIC}. */
export const OLDSTYLE_MAGIC = 0x00420281861253n;

/** Handshake flags, of the server and of the client. */
export const FIXED_NEWSTYLE = 1;
export const NO_ZEROES = 2;

export const OPTION = {
  ABORT: 2,
  STARTTLS: 5,
  GO: 7,
  STRUCTURED_REPLY: 8,
  EXTENDED_HEADERS: 11,
} as const;

export const REPLY = { ACK: 1, INFO: 3 } as const;

/** Bit of replies that say no. */
export const REPLY_ERROR = 0x80000000;

/** Meanings of error replies to an option, in words. */
export const REPLY_ERRORS: Readonly<Record<number, string>> = {
  1: 'the server does not know the option',
  2: 'the server forbids it',
  3: 'the server calls the request invalid',
  4: 'the server cannot do it on its platform',
  5: 'the server wants TLS',
  6: 'the server has no such export',
  7: 'the server is shutting down',
  8: 'the server wants the client to know its block sizes',
  9: 'the request is too large for the server',
  10: 'the server wants extended headers',
};

export const INFO = { EXPORT: 0, BLOCK_SIZE: 3 } as const;

/** Transmission flags of an export: what it can do. */
export const CAN = {
  HAS_FLAGS: 1 << 0,
  READ_ONLY: 1 << 1,
  FLUSH: 1 << 2,
  FUA: 1 << 3,
  TRIM: 1 << 5,
  WRITE_ZEROES: 1 << 6,
  MULTI_CONN: 1 << 8,
  CACHE: 1 << 10,
} as const;

export const REQUEST_MAGIC = 0x25609513;
export const EXTENDED_REQUEST_MAGIC = 0x21e41c71;
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef;
export const EXTENDED_REPLY_MAGIC = 0x6e8a278c;

/** Length in bytes of a request's header, by the form that was agreed on. */
export const REQUEST_BYTES = { simple: 28, structured: 28, extended: 32 } as const;

export const COMMAND = {
  READ: 0,
  WRITE: 1,
  DISCONNECT: 2,
  FLUSH: 3,
  TRIM: 4,
  CACHE: 5,
  WRITE_ZEROES: 6,
} as const;
export type Command = (typeof COMMAND)[keyof typeof COMMAND];

export const COMMAND_FLAG = { FUA: 1, NO_HOLE: 2, PAYLOAD_LEN: 32 } as const;

/** Types of chunks of structured and extended replies. */
export const CHUNK = { NONE: 0, OFFSET_DATA: 1, OFFSET_HOLE: 2 } as const;
/** Bit of chunks that tell of an error; the one that has an offset has {@link CHUNK_ERROR_OFFSET}. */
export const CHUNK_ERROR = 0x8000;
export const CHUNK_ERROR_OFFSET = 0x8002;
/** Flag of the last chunk of a reply. */
export const CHUNK_DONE = 1;

/** Codes of the protocol's error numbers, which are the same whatever the server's system is. */
const ERRORS: Readonly<Record<number, string>> = {
  1: 'EPERM',
  5: 'EIO',
  12: 'ENOMEM',
  22: 'EINVAL',
  28: 'ENOSPC',
  75: 'EOVERFLOW',
  95: 'ENOTSUP',
  108: 'ESHUTDOWN',
};

/** Makes an error with a `code`, which decides what the device does about it. */
export function nbdError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

/** Makes the error of a server's answer to a command. Numbers that the protocol does not have are I/O errors. */
export function serverError(number: number, doing: string, text = ''): Error {
  const code = ERRORS[number] ?? 'EIO';
  return nbdError(
    code,
    `${doing}: the server answers ${ERRORS[number] ?? `error ${number}`}${text && `: ${text}`}`,
  );
}

/** Error for a server that does what the protocol forbids. */
export class NbdProtocolError extends Error {
  /** Code that Node has for a peer that breaks a protocol. */
  readonly code = 'EPROTO';
  /** The class's name. */
  override readonly name = 'NbdProtocolError';
}
