// v86's VirtQueue, as its npm package has it. The class is not exported, so its text is taken out of the installed build.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export interface V86Chain {
  readonly length_readable: number;
  readonly length_writable: number;
  length_written: number;
  get_next_blob(target: Uint8Array): number;
  set_next_blob(source: Uint8Array): number;
}

export interface V86Queue {
  desc_addr: number;
  avail_addr: number;
  used_addr: number;
  has_request(): boolean;
  pop_request(): V86Chain;
  push_reply(chain: V86Chain): void;
  flush_replies(): void;
  notify_me_after(skipped: number): void;
}

/** What VirtQueue asks of v86's CPU, over typed arrays: the fastest that it can be. v86's own accessors are slower. */
class TypedArrayCpu {
  readonly mem8: Uint8Array;
  readonly mem16: Uint16Array;
  readonly mem32s: Int32Array;

  constructor(buffer: ArrayBuffer) {
    this.mem8 = new Uint8Array(buffer);
    this.mem16 = new Uint16Array(buffer);
    this.mem32s = new Int32Array(buffer);
  }

  read16(at: number): number {
    return this.mem16[at >>> 1] as number;
  }

  read32s(at: number): number {
    return this.mem32s[at >>> 2] as number;
  }

  write16(at: number, value: number): void {
    this.mem16[at >>> 1] = value;
  }

  write32(at: number, value: number): void {
    this.mem32s[at >>> 2] = value;
  }

  read_blob(at: number, length: number): Uint8Array {
    return this.mem8.subarray(at, at + length);
  }

  write_blob(blob: Uint8Array, at: number): void {
    this.mem8.set(blob, at);
  }
}

/** The device of a queue. */
class Device {
  readonly driver_feature = new Uint32Array([(1 << 28) | (1 << 29), 1]);
  isr = 0;
  interrupts = 0;

  is_feature_negotiated(feature: number): boolean {
    return ((this.driver_feature[feature >>> 5] as number) & (1 << (feature & 31))) > 0;
  }

  raise_irq(type: number): void {
    this.isr |= type;
    this.interrupts++;
  }
}

type VirtQueue = new (
  cpu: TypedArrayCpu,
  device: Device,
  options: { size_supported: number; notify_offset: number },
) => V86Queue;

/** The class, once: were it made anew for each queue, the engine would have to tell the copies apart. */
const VirtQueue = ((): VirtQueue => {
  const build = readFileSync(fileURLToPath(import.meta.resolve('v86')), 'utf8');
  const name = /(\w+)\.prototype\.pop_request=/.exec(build)?.[1];
  // what is left of debug messages in the release build: formats numbers for nobody
  const format = /(\w+)\(\w+\.addr_high,\s*8\)/.exec(build)?.[1];
  const start = build.indexOf(`function ${name}(`);
  const last = build.indexOf('.prototype.set_next_blob=', start);
  const end = build.indexOf('return b};', last);
  if (name === undefined || format === undefined || start < 0 || last < 0 || end < 0)
    throw new Error("v86's build has another shape than 0.5.462's: no VirtQueue found in it");
  const text = `${build.slice(start, end)}return b};return ${name}`;
  return new Function(format, text)(() => '') as VirtQueue;
})();

/** A VirtQueue over this memory. */
export function v86Queue(
  buffer: ArrayBuffer,
  size: number,
): { queue: V86Queue; device: { interrupts: number } } {
  const device = new Device();
  const queue = new VirtQueue(new TypedArrayCpu(buffer), device, { size_supported: size, notify_offset: 0 });
  return { queue, device };
}
