import type { SectionHeader } from './events.ts';

/** Settings of a `StreamParser`; each has a default that suits QEMU's streams. */
export interface ParserOptions {
  /** Largest number of bytes of device state (everything but RAM) kept in memory. Default 320 MiB. */
  readonly maxDeviceState?: number;
  /** Length of a target page as a power of two, where the stream does not say. Default: by machine type, else 12. */
  readonly pageBits?: number;
  /**
   * Are these bytes the whole body of a section? `undefined`: not known. It decides where a section ends when the bytes
   * of a device look like the footer behind it.
   */
  readonly accepts?: SectionJudge;
  /**
   * Lengths that the body of a section can have which begins with `bytes`, whatever stands behind it: an empty list if
   * it cannot be read, `undefined`: not known. Where they are known, nothing that a guest writes into a device makes
   * its section end elsewhere. Default: those that {@link accepts} has.
   */
  readonly lengths?: (header: SectionHeader, bytes: Uint8Array) => readonly number[] | undefined;
  /** Largest number of sections and commands, those of RAM not counted. Default 131072. */
  readonly maxStructures?: number;
}

/** Function that knows where sections end. */
export interface SectionJudge {
  /** Are these bytes the whole body of a section? `undefined`: not known. */
  (header: SectionHeader, body: Uint8Array): boolean | undefined;
  /** Lengths that the body can have which begins with `bytes`. See {@link ParserOptions.lengths}. */
  readonly lengths?: (header: SectionHeader, bytes: Uint8Array) => readonly number[] | undefined;
}
