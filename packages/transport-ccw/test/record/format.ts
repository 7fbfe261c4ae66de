/** The record of a boot: I/O instructions of a real guest under a real QEMU, in their order. */

/** Bytes in guest memory; in hexadecimal. */
export interface Bytes {
  readonly at: number;
  readonly bytes: string;
}

/** The data area of a channel command. */
export interface DataArea {
  readonly at: number;
  readonly before: string;
  /** Absent: as before. */
  readonly after?: string;
}

export type Step =
  | {
      readonly op: 'ssch';
      readonly id: number;
      readonly cc: number;
      readonly orb: string;
      /** The channel commands. */
      readonly program: readonly Bytes[];
      readonly data: readonly DataArea[];
    }
  | { readonly op: 'tsch'; readonly id: number; readonly cc: number; readonly irb?: string }
  | { readonly op: 'stsch'; readonly id: number; readonly cc: number; readonly schib?: string }
  | { readonly op: 'msch'; readonly id: number; readonly cc: number; readonly schib: string }
  | { readonly op: 'csch' | 'hsch' | 'rsch' | 'xsch'; readonly id: number; readonly cc: number }
  | { readonly op: 'tpi'; readonly cc: number; readonly code?: string }
  | { readonly op: 'stcrw'; readonly cc: number; readonly crw: string }
  /** Channel subsystem call: command, and the request's bytes 4 to 15. */
  | { readonly op: 'chsc'; readonly command: number; readonly request: string; readonly response: number }
  | { readonly op: 'diagnose500'; readonly registers: readonly number[]; readonly result: number }
  /** An I/O interruption: 12 bytes of the low core. */
  | { readonly op: 'interrupt'; readonly code: string };

export interface BootRecord {
  readonly what: string;
  readonly qemu: string;
  readonly kernel: string;
  readonly machine: string;
  readonly devices: readonly string[];
  readonly steps: readonly Step[];
}
