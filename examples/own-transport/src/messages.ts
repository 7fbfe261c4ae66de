/**
 * A message from the driver to the device; each one is answered. They are the registers of virtio-mmio (Virtio 1.3 §4.2.2) as
 * questions and orders, so that a driver on another thread asks once where it would read three registers.
 */
export type Message =
  | { readonly type: 'GET_DEVICE_INFO' }
  | { readonly type: 'GET_DEVICE_FEATURES' }
  | { readonly type: 'SET_DRIVER_FEATURES'; readonly features: bigint }
  | { readonly type: 'GET_DEVICE_STATUS' }
  /** 0 resets. */
  | { readonly type: 'SET_DEVICE_STATUS'; readonly status: number }
  | { readonly type: 'GET_CONFIG'; readonly offset: number; readonly length: number }
  | { readonly type: 'SET_CONFIG'; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly type: 'GET_VQUEUE'; readonly queue: number }
  | { readonly type: 'SET_VQUEUE'; readonly queue: number; readonly ring: VqueueAddresses }
  | { readonly type: 'RESET_VQUEUE'; readonly queue: number }
  /** The driver has put something into a queue: a kick. */
  | { readonly type: 'EVENT_AVAIL'; readonly queue: number };

/** Where a ring lies: guest addresses of the three areas of Virtio 1.3 §2.6, and its entries. */
export interface VqueueAddresses {
  readonly size: number;
  readonly desc: bigint;
  readonly driver: bigint;
  readonly device: bigint;
}

/** What the device answers. Orders are answered as well, so that the driver goes on when they are done. */
export type Answer =
  | { readonly type: 'INFO'; readonly deviceId: number; readonly configLength: number }
  | { readonly type: 'FEATURES'; readonly features: bigint }
  | { readonly type: 'STATUS'; readonly status: number }
  | { readonly type: 'CONFIG'; readonly generation: number; readonly bytes: Uint8Array }
  /** Entries that the ring may have; 0: there is no such queue. */
  | { readonly type: 'VQUEUE'; readonly size: number }
  | { readonly type: 'DONE' }
  /** The message made no sense, and nothing was done. */
  | { readonly type: 'REFUSED' };

/** What the device says unasked: its interrupts. */
export type Event =
  | { readonly type: 'EVENT_USED'; readonly queue: number }
  | { readonly type: 'EVENT_CONFIG' };
