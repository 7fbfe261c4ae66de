import type { QemuDevice } from '@virtkit/core/qemu';

/** Destination as its command line makes it. What the command line does not say is QEMU's default. */
export interface Destination {
  /** Machine type: `pc-q35-7.2`; absent: the command line does not say. */
  readonly machine?: string;
  /** Guest memory: its size in bytes, and the blocks of RAM in which it is, where the command line decides that. */
  readonly memory?: {
    /** Size of the guest's memory at its start, in bytes. QEMU: `-m size=`. */
    readonly bytes: number;
    /** Number of slots for memory devices. */
    readonly slots?: number;
    /** Name of the block, where the memory is in a single one. */
    readonly block?: string;
    /** Blocks of RAM that back ends name, with their sizes in bytes, where the memory is in several (NUMA). */
    readonly blocks?: readonly { readonly name: string; readonly bytes: number }[];
    /** Memory of objects that devices use: memory devices, shared memory. */
    readonly objects?: readonly { readonly name: string; readonly bytes: number }[];
  };
  /** Processors that the machine starts with, 1 or more. QEMU: `-smp`. */
  readonly cpus: number;
  /** Devices of `-device` and of the options that stand for one (`-drive if=virtio`), in the order of the command line. */
  readonly devices: readonly QemuDevice[];
  /** True where the machine's buses are known: a device without a place is then on none of them. */
  readonly placed: boolean;
  /** Sentences about the parts of the command line that were not understood; they were not looked at. */
  readonly unknown: readonly string[];
  /**
   * Sentences of {@link unknown} about parts that a QEMU cannot be asked about: words that only a shell knows, options
   * that are not passed on.
   */
  readonly unasked?: readonly string[];
  /** Blocks of RAM by name, where the QEMU itself was asked: bytes in use, and the largest size in bytes. */
  readonly ramBlocks?: ReadonlyMap<string, { readonly used: number; readonly most: number }>;
  /** The words of the command line on which the sections and RAM blocks of the board itself depend. */
  readonly board?: BoardWords;
  /** Number of starts of a QEMU in the text, and the one that was read (the first is 1). */
  readonly starts?: { readonly count: number; readonly chosen: number };
}

/** The words of a command line that are about the board: those of `-machine`, and options beside it. */
export interface BoardWords {
  /** The architecture of the program: `x86_64`. */
  readonly arch: string;
  readonly options: ReadonlyMap<string, string>;
  /** True if the command line names firmware other than the program's own. */
  readonly ownFirmware: boolean;
  /** Flash memories by their unit: the bytes of each, or undefined where its file decides that. */
  readonly flash: ReadonlyMap<number, number | undefined>;
  /**
   * Words of `-global` for devices of the board that change its state in a way that is not known here:
   * `PIIX4_PM.smm_enabled=1`.
   */
  readonly globals: readonly string[];
  /** True if the command line has a floppy disk: a machine without a controller for it gets one. */
  readonly floppies: boolean;
  /** Number of network back ends of kind `user`. */
  readonly userNetworks: number;
  /** Number of serial ports, on a PC and on s390x. */
  readonly serialPorts: number;
  /** Number of parallel ports, on a PC. */
  readonly parallelPorts: number;
}
