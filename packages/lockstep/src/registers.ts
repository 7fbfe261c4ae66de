import type { Operation } from './operation.ts';
import type { View } from './view.ts';

/** Offsets in the PCI configuration space. */
export const PCI = { COMMAND: 0x04, BAR0: 0x10, BAR1: 0x14, BAR2: 0x18, BAR4: 0x20, ROM: 0x30 } as const;

/** Legacy registers. Virtio 1.3 §4.1.4.10 */
export const LEGACY = {
  HOST_FEATURES: 0,
  GUEST_FEATURES: 4,
  QUEUE_PFN: 8,
  QUEUE_NUM: 12,
  QUEUE_SEL: 14,
  NOTIFY: 16,
  STATUS: 18,
  ISR: 19,
  CONFIG_VECTOR: 20,
  QUEUE_VECTOR: 22,
} as const;

/** The common configuration structure: name → offset and size. Virtio 1.3 §4.1.4.3 */
export const COMMON = {
  DFSELECT: [0, 4],
  DF: [4, 4],
  GFSELECT: [8, 4],
  GF: [12, 4],
  CONFIG_VECTOR: [16, 2],
  NUM_QUEUES: [18, 2],
  STATUS: [20, 1],
  GENERATION: [21, 1],
  QUEUE_SEL: [22, 2],
  QUEUE_SIZE: [24, 2],
  QUEUE_VECTOR: [26, 2],
  QUEUE_ENABLE: [28, 2],
  NOTIFY_OFF: [30, 2],
  DESC_LO: [32, 4],
  DESC_HI: [36, 4],
  AVAIL_LO: [40, 4],
  AVAIL_HI: [44, 4],
  USED_LO: [48, 4],
  USED_HI: [52, 4],
  NOTIFY_DATA: [56, 2],
  QUEUE_RESET: [58, 2],
} as const;

export type CommonRegister = keyof typeof COMMON;
export const COMMON_REGISTERS: readonly CommonRegister[] = Object.keys(COMMON) as CommonRegister[];

/** Structures behind the modern BAR. */
export const ISR_AT = 0x1000;
export const DEVICE_AT = 0x2000;
export const NOTIFY_AT = 0x3000;

/** A BAR's address, or undefined while nothing answers there. */
export interface Bars {
  readonly legacy: number | undefined;
  readonly msix: number | undefined;
  readonly notifyPio: number | undefined;
  readonly modern: number | undefined;
}

function word(config: Uint8Array, at: number): number {
  return (
    ((config[at] ?? 0) | ((config[at + 1] ?? 0) << 8) | ((config[at + 2] ?? 0) << 16)) +
    (config[at + 3] ?? 0) * 0x100_0000
  );
}

/** The BARs as the driver has placed them, whether or not they are switched on. */
export function placedBars({ config, setup }: View): Bars {
  const io = (at: number): number => Math.floor(word(config, at) / 4) * 4;
  const memory = (at: number): number => Math.floor(word(config, at) / 16) * 16;
  return {
    legacy: setup.interface === 'modern' ? undefined : io(PCI.BAR0),
    msix: setup.vectors === 0 ? undefined : memory(PCI.BAR1),
    notifyPio: setup.notifyPio && setup.interface !== 'legacy' ? io(PCI.BAR2) : undefined,
    modern:
      setup.interface === 'legacy'
        ? undefined
        : memory(PCI.BAR4) + word(config, PCI.BAR4 + 4) * 0x1_0000_0000,
  };
}

/** Offset of a capability in the configuration space, or 0. Virtio's have their type as `type`. */
export function findCapability(config: Uint8Array, id: number, type?: number): number {
  let at = (config[0x34] ?? 0) & 0xfc;
  for (let i = 0; at >= 0x40 && i < 48; i++) {
    if (config[at] === id && (type === undefined || config[at + 3] === type)) return at;
    at = (config[at + 1] ?? 0) & 0xfc;
  }
  return 0;
}

export function configRead(at: number, size: number): Operation {
  return { kind: 'config-read', at, size };
}

export function configWrite(at: number, size: number, value: number): Operation {
  return { kind: 'config-write', at, size, value };
}

export function memory(at: number, bytes: Uint8Array): Operation {
  return { kind: 'memory', at, bytes };
}
