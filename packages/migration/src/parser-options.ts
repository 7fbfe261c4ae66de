import type { SectionHeader } from './events.ts';

/** Settings of a `StreamParser`; each has a default that suits QEMU's streams. */
export interface ParserOptions {
  /** Most bytes of device state (everything but RAM) kept in memory. Default 320 MiB. */
  readonly maxDeviceState?: number;
  /** Target page size in bits, where the stream does not say. Default: by machine type, else 12. */
  readonly pageBits?: number;
  /**
   * Is this the whole body of that section? `undefined`: don't know. Decides where a section ends when the bytes of a
   * device look like the footer behind it.
   */
  readonly accepts?: SectionJudge;
  /**
   * Lengths that the body of that section can have which begins these bytes, whatever stands behind it: none if it cannot be read,
   * `undefined`: don't know. Where they are known, nothing that a guest writes into a device makes its section end elsewhere. Default:
   * those that {@link accepts} has.
   */
  readonly lengths?: (header: SectionHeader, bytes: Uint8Array) => readonly number[] | undefined;
  /** Most sections and commands, those of RAM not counted. Default 131072. */
  readonly maxStructures?: number;
}

/** Knows where sections end. */
export interface SectionJudge {
  /** Is this the whole body of that section? `undefined`: don't know. */
  (header: SectionHeader, body: Uint8Array): boolean | undefined;
  /** How long can the body be that begins these bytes? See {@link ParserOptions.lengths}. */
  readonly lengths?: (header: SectionHeader, bytes: Uint8Array) => readonly number[] | undefined;
}
