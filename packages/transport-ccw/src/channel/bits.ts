/** Bits of channel I/O. Principles of Operation, chapters 15 and 16; the names are QEMU's. */

/** Bits of the path management control word's flags. */
export const PMCW = {
  /** Bits of the interruption subclass. */
  ISC: 0x3800,
  /** Bit that enables the subchannel. */
  ENA: 0x0080,
  LM: 0x0060,
  MME: 0x0018,
  MP: 0x0004,
  TF: 0x0002,
  /** Bit that says that the device number is valid. */
  DNV: 0x0001,
  INVALID: 0xc300,
} as const;

export const ISC_SHIFT = 11;
export const ISC_MAX = 7;

/** Bits of the path management control word's characteristics. */
export const PMCW_CHARS = {
  MBFC: 0x00000004,
  XMWME: 0x00000002,
  /** Bit for concurrent sense: TSCH delivers sense data. */
  CSENSE: 0x00000001,
  INVALID: 0xff1ffff8,
} as const;

/** Bits of the subchannel status word's flags. */
export const SCSW_FLAGS = {
  ESWF: 0x0400,
  /** Bits of the deferred condition code. */
  CC: 0x0300,
  /** Bit that says that the channel program is of format 1. */
  FMT: 0x0080,
  ECTL: 0x0002,
  PNO: 0x0001,
} as const;

/** Bits of the function control. */
export const FCTL = { START: 0x4000, HALT: 0x2000, CLEAR: 0x1000, MASK: 0x7000 } as const;

/** Bits of the activity control. */
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

/** Bits of the status control. */
export const STCTL = {
  ALERT: 0x0010,
  INTERMEDIATE: 0x0008,
  PRIMARY: 0x0004,
  SECONDARY: 0x0002,
  STATUS_PEND: 0x0001,
  MASK: 0x001f,
} as const;

/** Bits of the device status. */
export const DSTAT = { CHANNEL_END: 0x08, DEVICE_END: 0x04, UNIT_CHECK: 0x02 } as const;

/** Bits of the subchannel status. */
export const CSTAT = {
  PROG_CHECK: 0x20,
  DATA_CHECK: 0x08,
  CHN_CTRL_CHECK: 0x04,
  INTF_CTRL_CHECK: 0x02,
} as const;

/** Bits of the operation-request block's first control halfword. */
export const ORB0 = {
  /** Bit that says that the program may be suspended. */
  SPND: 0x0800,
  /** Bit that says that channel commands have format 1. */
  FMT: 0x0080,
  /** Bit for indirect data addresses of format 2: 64 bits. */
  C64: 0x0002,
  /** Bit for indirect data addresses whose blocks have 2 KiB. */
  I2K: 0x0001,
  INVALID: 0x0004,
} as const;

/** Bits of the operation-request block's last control byte. */
export const ORB1 = { MIDAW: 0x40, INVALID: 0x3e } as const;

/** Bit of a path mask for the one channel path that a virtual subchannel has. */
export const PATH = 0x80;

/** Bits of a channel command's flags. */
export const CCW_FLAG = {
  /** Bit that chains data. */
  DC: 0x80,
  /** Bit that chains commands. */
  CC: 0x40,
  /** Bit that suppresses the indication of a wrong length. */
  SLI: 0x20,
  SKIP: 0x10,
  /** Bit that says that the data address is that of a list of addresses. */
  IDA: 0x04,
  SUSPEND: 0x02,
  MIDA: 0x01,
} as const;

/** Codes of commands that every control unit knows. */
export const COMMAND = { NOOP: 0x03, BASIC_SENSE: 0x04, TIC: 0x08, SENSE_ID: 0xe4 } as const;
