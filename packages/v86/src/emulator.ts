import { HostError } from '@virtkit/core';

/** Part of a `V86` that this package needs; the class of the npm package `v86` is one. */
export interface V86Emulator {
  /** Has the listener called when the machine is there. */
  add_listener(event: 'emulator-ready', listener: () => void): void;
  /** Lets the processor run. */
  run(): Promise<void>;
  /** Stops the processor; resolves when it has stopped. */
  stop(): Promise<void>;
  /** Does the processor run? */
  is_running(): boolean;
  /** Saves the whole machine as bytes, with the devices that are attached. */
  save_state(): Promise<ArrayBuffer>;
  /** Takes a machine over. Rejects, and nothing has changed, if it has other devices. */
  restore_state(state: ArrayBuffer): Promise<void>;
}

/** Entry of v86's table of 65536 I/O ports. Writers get no address: `this` is {@link device}. */
export interface PortEntry {
  read8: (port: number) => number;
  read16: (port: number) => number;
  read32: (port: number) => number;
  write8: (value: number) => void;
  write16: (value: number) => void;
  write32: (value: number) => void;
  device: unknown;
}

export type Read = (address: number) => number;
export type Write = (address: number, value: number) => void;

/** PCI bus of v86. */
export interface V86Pci {
  readonly pci_addr: Uint8Array;
  readonly pci_status32: Int32Array;
  readonly isa_bridge_space8: Uint8Array;
  readonly devices: unknown[];
  readonly device_spaces: unknown[];
  register_device(device: {
    readonly name: string;
    readonly pci_id: number;
    readonly pci_space: readonly number[];
    readonly pci_bars: readonly unknown[];
  }): unknown;
  pci_query(): void;
  pci_write8(address: number, value: number): void;
  pci_write16(address: number, value: number): void;
  pci_write32(address: number, value: number): void;
}

/** CPU of v86, which is also its machine: the fields that are used here. They are not in v86's own types. */
export interface V86Cpu {
  readonly wasm_memory: { readonly buffer: ArrayBuffer };
  readonly mem8: { readonly byteOffset: number; readonly length: number };
  readonly io: { readonly ports: PortEntry[]; create_empty_entry(): PortEntry };
  readonly devices: { readonly pci?: V86Pci };
  /** Readers of memory by blocks of 128 KiB. Addresses come as signed 32-bit numbers. */
  readonly memory_map_read8: (Read | undefined)[];
  readonly memory_map_write8: (Write | undefined)[];
  readonly memory_map_read32: (Read | undefined)[];
  readonly memory_map_write32: (Write | undefined)[];
  mmap_write16: Write;
  device_raise_irq(irq: number): void;
  device_lower_irq(irq: number): void;
  jit_dirty_cache(start: number, end: number): void;
  reboot_internal(): void;
  /** Low and high word of the time stamp counter, as of the last {@link store_current_tsc}. */
  readonly current_tsc: Int32Array | Uint32Array;
  store_current_tsc(): void;
  set_tsc(low: number, high: number): void;
  get_state(): unknown[];
  set_state(state: unknown[]): void;
}

/** Machine of a v86 that is ready: devices are made, nothing is executed yet or more. */
export interface V86Machine {
  readonly cpu: V86Cpu;
  readonly pci: V86Pci;
  save_state(): ArrayBuffer;
  restore_state(state: ArrayBuffer): void;
}

/**
 * Finds the machine of an emulator, if it has one yet. @throws HostError for what is no emulator, or a version of v86
 * with other insides
 */
export function machineOf(emulator: V86Emulator): V86Machine | undefined {
  if (typeof emulator?.add_listener !== 'function') throw new HostError('no V86: it has no add_listener');
  const { v86 } = emulator as { v86?: { cpu?: V86Cpu } & Pick<V86Machine, 'save_state' | 'restore_state'> };
  const { cpu } = v86 ?? {};
  const pci = cpu?.devices?.pci;
  if (v86 === undefined || cpu === undefined || pci === undefined) return undefined;
  for (const [name, of] of NEEDED) {
    const owner: object | undefined = { cpu, pci, io: cpu.io, v86 }[of];
    if (owner === undefined || Reflect.get(owner, name) === undefined)
      throw new HostError(`this version of v86 has no ${of}.${name}; 0.5.462 is one that has`);
  }
  return {
    cpu,
    pci,
    save_state: () => v86.save_state(),
    restore_state: (state) => v86.restore_state(state),
  };
}

const NEEDED: readonly (readonly [string, 'cpu' | 'pci' | 'io' | 'v86'])[] = [
  ['wasm_memory', 'cpu'],
  ['mem8', 'cpu'],
  ['io', 'cpu'],
  ['memory_map_read8', 'cpu'],
  ['memory_map_write8', 'cpu'],
  ['memory_map_read32', 'cpu'],
  ['memory_map_write32', 'cpu'],
  ['mmap_write16', 'cpu'],
  ['device_raise_irq', 'cpu'],
  ['device_lower_irq', 'cpu'],
  ['jit_dirty_cache', 'cpu'],
  ['reboot_internal', 'cpu'],
  ['current_tsc', 'cpu'],
  ['store_current_tsc', 'cpu'],
  ['set_tsc', 'cpu'],
  ['get_state', 'cpu'],
  ['set_state', 'cpu'],
  ['ports', 'io'],
  ['create_empty_entry', 'io'],
  ['pci_addr', 'pci'],
  ['pci_status32', 'pci'],
  ['isa_bridge_space8', 'pci'],
  ['devices', 'pci'],
  ['device_spaces', 'pci'],
  ['register_device', 'pci'],
  ['pci_query', 'pci'],
  ['pci_write8', 'pci'],
  ['pci_write16', 'pci'],
  ['pci_write32', 'pci'],
  ['save_state', 'v86'],
  ['restore_state', 'v86'],
];
