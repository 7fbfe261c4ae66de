// A disk in a machine without a processor or a bus.
import type { Gpa, VirtioState } from '@virtkit/core';
import type { BlkDevice, BlkState } from '@virtkit/device-blk';
import { BareMachine, type BareOptions, type BareParts, type Segment } from '@virtkit/lab/bare-machine.ts';

export type { Segment } from '@virtkit/lab/bare-machine.ts';
export type MachineOptions = BareOptions;
export type State = VirtioState<BareParts, BlkState>;

/** Legacy bit of disks: SCSI commands. */
const SCSI = 7;

export class Machine extends BareMachine<BlkState> {
  readonly disk: BlkDevice;

  constructor(disk: BlkDevice, options: MachineOptions = {}) {
    super(disk, options, [SCSI]);
    this.disk = disk;
  }

  /** Header and data in new memory. */
  header(type: number, sector: number, after: Uint8Array = new Uint8Array(0)): number {
    const at = this.alloc(16 + after.length);
    this.view.setUint32(at, type, this.little);
    this.view.setUint32(at + 4, 0, this.little);
    this.view.setBigUint64(at + 8, BigInt(sector), this.little);
    this.ram.set(after, at + 16);
    return at;
  }

  /** A request in the usual layout: header, data, status. Not kicked. */
  submit(type: number, sector: number, data: Uint8Array | number, queue = 0): Submitted {
    const header = this.header(type, sector);
    const status = this.alloc(1);
    this.ram[status] = 0xee;
    const length = typeof data === 'number' ? data : data.length;
    const at = this.alloc(length);
    if (typeof data === 'number') this.ram.fill(0xdd, at, at + length);
    else this.ram.set(data, at);
    const write = typeof data === 'number';
    const segments: Segment[] = [{ addr: header, len: 16 }];
    if (length > 0) segments.push({ addr: at, len: length, write });
    segments.push({ addr: status, len: 1, write: true });
    const id = this.add(queue, segments);
    const { ram } = this;
    return {
      id,
      queue,
      dataAt: at,
      statusAt: status,
      get status() {
        return ram[status] as number;
      },
      get data() {
        return ram.slice(at, at + length);
      },
    };
  }

  read(sector: number, bytes: number, queue = 0): Submitted {
    const request = this.submit(0, sector, bytes, queue);
    this.kick(queue);
    return request;
  }

  write(sector: number, data: Uint8Array, queue = 0): Submitted {
    const request = this.submit(1, sector, data, queue);
    this.kick(queue);
    return request;
  }

  /** A segment of DISCARD and its like. */
  range(sector: number, count: number, flags = 0): Uint8Array {
    const bytes = new Uint8Array(16);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, BigInt(sector), this.little);
    view.setUint32(8, count, this.little);
    view.setUint32(12, flags, this.little);
    return bytes;
  }

  covers(at: number, length: number): boolean {
    return this.memory.covers(at as Gpa, length);
  }
}

export interface Submitted {
  readonly id: number;
  readonly queue: number;
  readonly dataAt: number;
  readonly statusAt: number;
  readonly status: number;
  readonly data: Uint8Array;
}

/** Bytes that say where they are from. */
export function pattern(bytes: number, seed: number): Uint8Array {
  let x = (seed * 2654435761 + 1) >>> 0;
  return Uint8Array.from({ length: bytes }, () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return x >>> 24;
  });
}
