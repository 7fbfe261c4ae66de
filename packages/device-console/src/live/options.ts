import { type Endian, HostError, later } from '@virtkit/core/live';
import { PORTS_MAX } from '../limits.ts';
import type { PortBackend } from './backend.ts';

declare const TextEncoder: new () => { encode(text: string): Uint8Array };

/** Size of a terminal: columns and rows, 0 to 65535 each. */
export interface ConsoleSize {
  /** Number of characters in a line, 0 to 65535; 0: not known. */
  readonly columns: number;
  /** Number of lines, 0 to 65535; 0: not known. */
  readonly rows: number;
}

/** Options of a port. */
export interface PortOptions {
  /** Back end at the other end of the port. */
  readonly backend: PortBackend;
  /**
   * Number of the port, below the device's `maxPorts`; default: 0 for the first console, else the first that is free.
   * QEMU property `nr`.
   */
  readonly id?: number;
  /**
   * True for a terminal: `/dev/hvc0` in Linux. Default false: `/dev/vport0p1`. QEMU: `virtconsole`, else
   * `virtserialport`.
   */
  readonly console?: boolean;
  /** Name of the port, at most 1024 bytes of UTF-8. QEMU property `name`. */
  readonly name?: string;
  /** True if something is at the host's end from the beginning; default true. */
  readonly open?: boolean;
  /** Size of a console's screen; ports that are no consoles have none. */
  readonly size?: ConsoleSize;
}

/** Options of a console device. What is left out is as QEMU makes its `virtio-serial-pci`. */
export interface ConsoleOptions {
  /** Ports that are there from the beginning. Others can be plugged in later. */
  readonly ports?: readonly PortOptions[];
  /**
   * Largest number of ports, 1 to 511; default 31. With 1 there are no control queues to be used. QEMU property
   * `max_ports`.
   */
  readonly maxPorts?: number;
  /** Let the driver write single characters before anything else works; default true. QEMU property `emergency-write`. */
  readonly emergencyWrite?: boolean;
  /**
   * Offer SIZE: the driver learns how large the window of port 0 is, and of each console when it is resized. Default: if a port has a
   * size. (QEMU, up to 11.1, does not offer it.)
   */
  readonly sizes?: boolean;
  /**
   * Order of the two numbers in the message of a new size: `columns-first`, the default, is that of Virtio 1.3 §5.3.6.2. Linux reads them
   * in the one order or in the other, by its version; most versions `rows-first`.
   */
  readonly resizeOrder?: 'columns-first' | 'rows-first';
  /**
   * Function that calls back later, for work that a guest can make endless. Default: when timers have had their turn.
   */
  readonly defer?: (proceed: () => void) => void;
  /**
   * Place of `ndescs` in a half-written buffer of a device that offers RING_PACKED: behind it, where QEMU looks for it
   * (default), or before it, where QEMU writes it.
   */
  readonly ndescs?: 'after' | 'before';
  /** Byte order of the host that states are written for; default little. */
  readonly hostEndian?: Endian;
}

/** Options of a console device, checked and complete, without the ports. */
export interface Settings {
  readonly maxPorts: number;
  readonly emergencyWrite: boolean;
  readonly sizes: boolean;
  readonly resizeOrder: 'columns-first' | 'rows-first';
  readonly defer: (proceed: () => void) => void;
  readonly ndescs: 'after' | 'before';
  readonly hostEndian: Endian;
}

/** Default number of ports. QEMU: `max_ports`. */
const DEFAULT_PORTS = 31;
/**
 * Longest name of a port in bytes: with what stands in front of it, it fits into the smallest buffers that drivers
 * offer.
 */
const NAME_MAX = 1024;

/** Checks and completes options. @throws HostError that names the option */
export function settle(options: ConsoleOptions): Settings {
  const { ports = [], sizes = ports.some(({ size }) => size !== undefined) } = options;
  return {
    maxPorts: integer('maxPorts', options.maxPorts ?? DEFAULT_PORTS, 1, PORTS_MAX),
    emergencyWrite: options.emergencyWrite ?? true,
    sizes,
    resizeOrder: options.resizeOrder ?? 'columns-first',
    defer: options.defer ?? later,
    ndescs: options.ndescs ?? 'after',
    hostEndian: options.hostEndian ?? 'little',
  };
}

/** Takes an integer from `least` to `most` out of options. @throws HostError that names the option */
export function integer(name: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new HostError(`${name}: ${value} is not an integer from ${least} to ${most}`);
}

/** Turns a port's name into bytes. @throws HostError for a name that is too long or has a NUL */
export function nameBytes(name: string): Uint8Array {
  const bytes = new TextEncoder().encode(name);
  if (bytes.length === 0 || bytes.length > NAME_MAX || bytes.includes(0))
    throw new HostError(
      `name: ${JSON.stringify(name.slice(0, 40))} is not 1 to ${NAME_MAX} bytes without a NUL`,
    );
  return bytes;
}

/** Checks the size of a screen. @throws HostError for numbers that are not 0 to 65535 */
export function checkSize({ columns, rows }: ConsoleSize): ConsoleSize {
  integer('size.columns', columns, 0, 0xffff);
  integer('size.rows', rows, 0, 0xffff);
  return { columns, rows };
}
