// Numbers of the protocol. QEMU's docs/interop/vfio-user.rst, and linux/vfio.h.

/** Numbers of the commands of a client, and those of a server. */
export const COMMAND = {
  VERSION: 1,
  DMA_MAP: 2,
  DMA_UNMAP: 3,
  DEVICE_GET_INFO: 4,
  DEVICE_GET_REGION_INFO: 5,
  DEVICE_GET_REGION_IO_FDS: 6,
  DEVICE_GET_IRQ_INFO: 7,
  DEVICE_SET_IRQS: 8,
  REGION_READ: 9,
  REGION_WRITE: 10,
  DMA_READ: 11,
  DMA_WRITE: 12,
  DEVICE_RESET: 13,
  REGION_WRITE_MULTI: 15,
  DEVICE_FEATURE: 16,
  MIG_DATA_READ: 17,
  MIG_DATA_WRITE: 18,
} as const;

export type CommandName = keyof typeof COMMAND;

/** Names of the commands, by number. */
export const COMMAND_NAMES: ReadonlyMap<number, CommandName> = new Map(
  (Object.keys(COMMAND) as CommandName[]).map((name) => [COMMAND[name], name]),
);

/** Bits of a header's flags. The lowest four are the type: 0 is a command, 1 a reply. */
export const FLAG = { TYPE: 0xf, REPLY: 0x1, NO_REPLY: 0x10, ERROR: 0x20 } as const;

/** Length in bytes of the header in front of a payload: id, command, size of the message, flags, error. */
export const HEADER_BYTES = 16;
/** Largest number of bytes that are read or written by one command: VERSION tells the client. */
export const TRANSFER_MAX = 65_536;
/** Largest length of a payload in bytes: a transfer, and what stands in front of its bytes. */
export const PAYLOAD_MAX = 65_552;
/** Largest number of file descriptors that come with a command: VERSION tells the client. */
export const DESCRIPTORS_MAX = 16;

/** Major number of the protocol's version; 0.0 is what QEMU speaks. */
export const VERSION_MAJOR = 0;
export const VERSION_MINOR = 0;

/** Bits of DMA_MAP's flags. */
export const DMA_FLAG = { READ: 1, WRITE: 2 } as const;
/** Bits of DMA_UNMAP's flags. */
export const UNMAP_FLAG = { DIRTY_BITMAP: 1, ALL: 2 } as const;

/** Bits of DEVICE_GET_INFO's flags. */
export const DEVICE_FLAG = { RESET: 1, PCI: 2 } as const;
/** Bits of DEVICE_GET_REGION_INFO's flags. */
export const REGION_FLAG = { READ: 1, WRITE: 2 } as const;
/** Bits of DEVICE_GET_IRQ_INFO's flags. */
export const IRQ_FLAG = { EVENTFD: 1, MASKABLE: 2, AUTOMASKED: 4 } as const;

/** Numbers of a PCI device's regions: BARs 0 to 5, and these. */
export const REGION = { ROM: 6, CONFIG: 7, VGA: 8 } as const;
export const REGIONS = 9;

/** Types of a PCI device's interrupts. */
export const IRQ = { INTX: 0, MSI: 1, MSIX: 2, ERR: 3, REQ: 4 } as const;
export const IRQ_TYPES = 5;

/** Bits of DEVICE_SET_IRQS's flags: one of what comes with it, and one of what is to be done. */
export const SET_IRQS = {
  DATA_NONE: 0x01,
  DATA_BOOL: 0x02,
  DATA_EVENTFD: 0x04,
  DATA: 0x07,
  MASK: 0x08,
  UNMASK: 0x10,
  TRIGGER: 0x20,
  ACTION: 0x38,
} as const;
