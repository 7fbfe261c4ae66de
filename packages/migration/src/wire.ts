/** Magic number at the beginning of a stream: `QEVM`. */
export const MAGIC = 0x5145564d;
/** Version of the stream's format. QEMU: `QEMU_VM_FILE_VERSION` */
export const VERSION = 3;

/** Types of what stands in a stream: sections, their footers, commands and the end. QEMU: `migration/savevm.h` */
export const TYPE = {
  EOF: 0x00,
  START: 0x01,
  PART: 0x02,
  END: 0x03,
  FULL: 0x04,
  SUBSECTION: 0x05,
  VMDESCRIPTION: 0x06,
  CONFIGURATION: 0x07,
  COMMAND: 0x08,
  FOOTER: 0x7e,
} as const;

/** Commands of the source. QEMU: `enum qemu_vm_cmd` */
export const COMMAND = {
  INVALID: 0,
  OPEN_RETURN_PATH: 1,
  PING: 2,
  POSTCOPY_ADVISE: 3,
  POSTCOPY_LISTEN: 4,
  POSTCOPY_RUN: 5,
  POSTCOPY_RAM_DISCARD: 6,
  PACKAGED: 7,
  ENABLE_COLO: 8,
  POSTCOPY_RESUME: 9,
  RECV_BITMAP: 10,
  SWITCHOVER_START: 11,
} as const;

/** Names of {@link COMMAND}, by number. */
export const COMMANDS: readonly string[] = Object.keys(COMMAND);

/** Flags in the low bits of a RAM record's first word. QEMU: `migration/ram.h` */
export const RAM = {
  ZERO: 0x02,
  MEM_SIZE: 0x04,
  PAGE: 0x08,
  EOS: 0x10,
  CONTINUE: 0x20,
  XBZRLE: 0x40,
  HOOK: 0x80,
  COMPRESS_PAGE: 0x100,
  MULTIFD_FLUSH: 0x200,
} as const;

/** Version of the `ram` section, of which there is only one. */
export const RAM_VERSION = 4;

export function be32(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] ?? 0) * 0x100_0000 +
    (((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0))
  );
}

/** Is this a character that names of sections are made of, ASCII from the space to the tilde? */
export function isPrintable(byte: number): boolean {
  return byte >= 0x20 && byte <= 0x7e;
}
