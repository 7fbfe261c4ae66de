import type { Chain } from './queue.ts';

/**
 * Log of the chains that a device has taken from its queues, kept by a transport that must know them after the program
 * has died (vhost-user: INFLIGHT_SHMFD). Core tells it of each chain in the order in which the driver would see it;
 * nothing here may throw.
 */
export interface InFlightLog {
  /** Notes that the device took a chain. */
  taken(chain: Chain): void;
  /** Notes that a chain went back as if it had not been taken, or was forgotten by a reset of its queue. */
  dropped(chain: Chain): void;
  /** Notes that a chain is used, and lies `ahead` places behind the used entries that the driver can see. */
  filled(chain: Chain, ahead: number): void;
  /** Notes that the next `count` places of a queue are about to become visible to the driver. */
  showing(queue: number, count: number): void;
  /** Notes that the `count` places named by {@link showing} are now visible to the driver. */
  shown(queue: number, count: number): void;
}
