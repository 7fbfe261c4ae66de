import type { QemuDevice } from '@virtkit/core/qemu';

/** A destination as its command line makes it. What is not said there is as QEMU's defaults are. */
export interface Destination {
  readonly machine?: string;
  /** Guest memory: its size in bytes, and the blocks of RAM in which it is, where the command line decides that. */
  readonly memory?: {
    readonly bytes: number;
    /** Slots for more. */
    readonly slots?: number;
    /** Its name, where it is one block. */
    readonly block?: string;
    readonly blocks?: readonly { readonly name: string; readonly bytes: number }[];
  };
  readonly cpus: number;
  readonly devices: readonly QemuDevice[];
  /** What of the command line could not be understood, and so was not looked at. */
  readonly unknown: readonly string[];
  /** That of it which no QEMU can be asked: words that only a shell knows, options that are not passed on. */
  readonly unasked?: readonly string[];
  /** All blocks of RAM, where the QEMU itself was asked: bytes in use, and the most that there may be. */
  readonly ramBlocks?: ReadonlyMap<string, { readonly used: number; readonly most: number }>;
  /** What the command line says of the board, as far as its own sections and blocks of RAM depend on it. */
  readonly board?: BoardWords;
  /** The text held so many starts of a QEMU, and this is the one that was read (the first is 1). */
  readonly starts?: { readonly count: number; readonly chosen: number };
}

/** What stands in `-machine`, and beside it. */
export interface BoardWords {
  readonly options: ReadonlyMap<string, string>;
  /** Firmware other than the program's own. */
  readonly ownFirmware: boolean;
  /** Back ends of kind `user`. */
  readonly userNetworks: number;
  /** Serial and parallel ports of a PC. */
  readonly serialPorts: number;
  readonly parallelPorts: number;
}
