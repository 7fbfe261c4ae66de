/** Bits of channel I/O. Principles of Operation, chapters 15 and 16; the names are QEMU's. */

/** Path management control word, flags. */
export const PMCW = {
  /** Interruption subclass. */
  ISC: 0x3800,
  /** Enabled. */
  ENA: 0x0080,
  LM: 0x0060,
  MME: 0x0018,
  MP: 0x0004,
  TF: 0x0002,
  /** Device number valid. */
  DNV: 0x0001,
  INVALID: 0xc300,
} as const;

export const ISC_SHIFT = 11;
export const ISC_MAX = 7;

/** Path management control word, characteristics. */
export const PMCW_CHARS = {
  MBFC: 0x00000004,
  XMWME: 0x00000002,
  /** Concurrent sense: TSCH delivers sense data. */
  CSENSE: 0x00000001,
  INVALID: 0xff1ffff8,
} as const;

/** Subchannel status word, flags. */
export const SCSW_FLAGS = {
  ESWF: 0x0400,
  /** Deferred condition code. */
  CC: 0x0300,
  /** The channel program is of format 1. */
  FMT: 0x0080,
  ECTL: 0x0002,
  PNO: 0x0001,
} as const;

/** Function control. */
export const FCTL = { START: 0x4000, HALT: 0x2000, CLEAR: 0x1000, MASK: 0x7000 } as const;

/** Activity control. */
export const ACTL = {
  RESUME_PEND: 0x0800,
  START_PEND: 0x0400,
  HALT_PEND: 0x0200,
  CLEAR_PEND: 0x0100,
  SUBCH_ACTIVE: 0x0080,
  DEVICE_ACTIVE: 0x0040,
  SUSP: 0x0020,
  MASK: 0x0fe0,
} as const;

/** Status control. */
export const STCTL = {
  ALERT: 0x0010,
  INTERMEDIATE: 0x0008,
  PRIMARY: 0x0004,
  SECONDARY: 0x0002,
  STATUS_PEND: 0x0001,
  MASK: 0x001f,
} as const;

/** Device status. */
export const DSTAT = { CHANNEL_END: 0x08, DEVICE_END: 0x04, UNIT_CHECK: 0x02 } as const;

/** Subchannel status. */
export const CSTAT = {
  PROG_CHECK: 0x20,
  DATA_CHECK: 0x08,
  CHN_CTRL_CHECK: 0x04,
  INTF_CTRL_CHECK: 0x02,
} as const;

/** Operation-request block, first control halfword. */
export const ORB0 = {
  /** The program may be suspended. */
  SPND: 0x0800,
  /** Channel commands of format 1. */
  FMT: 0x0080,
  /** Indirect data addresses of format 2: 64 bits. */
  C64: 0x0002,
  /** Their blocks have 2 KiB. */
  I2K: 0x0001,
  INVALID: 0x0004,
} as const;

/** Operation-request block, last control byte. */
export const ORB1 = { MIDAW: 0x40, INVALID: 0x3e } as const;

/** The one channel path that a virtual subchannel has, as a bit of a path mask. */
export const PATH = 0x80;

/** Flags of a channel command. */
export const CCW_FLAG = {
  /** Chain data. */
  DC: 0x80,
  /** Chain command. */
  CC: 0x40,
  /** Suppress the indication of a wrong length. */
  SLI: 0x20,
  SKIP: 0x10,
  /** The data address is one of a list of addresses. */
  IDA: 0x04,
  SUSPEND: 0x02,
  MIDA: 0x01,
} as const;

/** Commands that every control unit knows. */
export const COMMAND = { NOOP: 0x03, BASIC_SENSE: 0x04, TIC: 0x08, SENSE_ID: 0xe4 } as const;
