/**
 * Numbers of the specification that a driver needs. Written down once more, apart from those of the devices: a slip in one
 * place shows as a test that fails.
 */

/** Bits of the device status. Virtio 1.3 §2.1 */
export const STATUS_ACKNOWLEDGE = 1;
export const STATUS_DRIVER = 2;
export const STATUS_DRIVER_OK = 4;
export const STATUS_FEATURES_OK = 8;
export const STATUS_NEEDS_RESET = 64;
export const STATUS_FAILED = 128;

/** Bits of the ISR status. Virtio 1.3 §4.1.4.5, §4.2.2 */
export const ISR_QUEUE = 1;
export const ISR_CONFIG = 2;

/** Feature bits that belong to no device type. Virtio 1.3 §6 */
export const F_ANY_LAYOUT = 27;
export const F_INDIRECT_DESC = 28;
export const F_EVENT_IDX = 29;
export const F_VERSION_1 = 32;
export const F_RING_PACKED = 34;
export const F_IN_ORDER = 35;
export const F_NOTIFICATION_DATA = 38;
export const F_RING_RESET = 40;

/** Vector number that stands for no MSI-X vector. Virtio 1.3 §4.1.5.1.2 */
export const NO_VECTOR = 0xffff;

/** Is feature `bit` in the set? */
export function has(features: bigint, bit: number): boolean {
  return ((features >> BigInt(bit)) & 1n) === 1n;
}

/** Makes the set of these feature bits. */
export function bits(...numbers: readonly number[]): bigint {
  return numbers.reduce((set, bit) => set | (1n << BigInt(bit)), 0n);
}

/** Error that is thrown when the device does something that the specification forbids, as the driver sees it. */
export class DriverError extends Error {
  /** The class's name. */
  override readonly name = 'DriverError';
}
