import type { Chain } from './queue.ts';

/**
 * Which chains of its queues a device has, written down one by one by a transport that must know it after the program has died (vhost-user:
 * INFLIGHT_SHMFD). Core tells it in the order in which the driver would see it; nothing here may throw.
 */
export interface InFlightLog {
  /** The device took this chain. */
  taken(chain: Chain): void;
  /** The chain went back as if it had not been taken, or was forgotten by a reset of its queue. */
  dropped(chain: Chain): void;
  /** The chain is used: it lies in the place `ahead` behind the used entries that the driver can see. */
  filled(chain: Chain, ahead: number): void;
  /** The next `count` places are about to become visible. */
  showing(queue: number, count: number): void;
  /** They are. */
  shown(queue: number, count: number): void;
}
