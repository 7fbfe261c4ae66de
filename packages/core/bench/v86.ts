// v86's VirtQueue, as its npm package has it. The class is not exported, so its text is taken out of the installed build.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { V86 } from 'v86';

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

/** What VirtQueue asks of a CPU. */
interface Cpu {
  read16(at: number): number;
  read32s(at: number): number;
  write16(at: number, value: number): void;
  write32(at: number, value: number): void;
  read_blob(at: number, length: number): Uint8Array;
  write_blob(blob: Uint8Array, at: number): void;
}

/** The fastest CPU that there can be: nothing but typed arrays. */
class TypedArrayCpu implements Cpu {
  readonly mem8: Uint8Array;
  readonly mem16: Uint16Array;
  readonly mem32s: Int32Array;

  constructor({ buffer, byteOffset, length }: Uint8Array) {
    this.mem8 = new Uint8Array(buffer, byteOffset, length);
    this.mem16 = new Uint16Array(buffer, byteOffset, length / 2);
    this.mem32s = new Int32Array(buffer, byteOffset, length / 4);
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
  cpu: Cpu,
  device: Device,
  options: { size_supported: number; notify_offset: number },
) => V86Queue;

/** The class. Once for each kind of CPU: the engine shall know what it has to do with, as it does in v86. */
function virtQueue(): VirtQueue {
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
}

const OnTypedArrays = virtQueue();
const OnV86 = virtQueue();
const options = (size: number) => ({ size_supported: size, notify_offset: 0 });

export interface V86Made {
  readonly queue: V86Queue;
  readonly device: { readonly interrupts: number };
}

/** A queue over this memory. */
export function onTypedArrays(memory: Uint8Array, size: number): V86Made {
  const device = new Device();
  return { queue: new OnTypedArrays(new TypedArrayCpu(memory), device, options(size)), device };
}

/** v86, started up to the point where a guest would begin: its memory, queues on its CPU, and its end. */
export async function v86(megabytes: number): Promise<{
  memory: Uint8Array;
  queue(size: number): V86Made;
  end(): Promise<void>;
}> {
  const emulator = new V86({
    wasm_path: fileURLToPath(new URL('v86.wasm', import.meta.resolve('v86'))),
    autostart: false,
    memory_size: megabytes << 20,
    vga_memory_size: 1 << 20,
    disable_speaker: true,
  });
  await new Promise((resolve) => emulator.add_listener('emulator-ready', resolve as () => void));
  const { cpu } = (emulator as unknown as { v86: { cpu: V86Cpu } }).v86;
  const memory = new Uint8Array(cpu.wasm_memory.buffer, cpu.mem8.byteOffset, cpu.mem8.length);
  return {
    memory,
    queue: (size) => {
      const device = new Device();
      return { queue: new OnV86(cpu, device, options(size)), device };
    },
    end: async () => emulator.destroy(),
  };
}

interface V86Cpu extends Cpu {
  readonly wasm_memory: { readonly buffer: ArrayBuffer };
  readonly mem8: { readonly byteOffset: number; readonly length: number };
}
