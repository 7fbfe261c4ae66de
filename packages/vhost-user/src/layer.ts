import type { TransportLayer } from '@virtkit/core';
import { type ValueOf, vmstate } from '@virtkit/vmstate';

/** Structure of the transport's state, which is empty: what the front end has set up, it sets up again. */
const config = vmstate('vhost_user', 1).fields({});
const queue = vmstate('vhost_user_queue', 1).fields({});

/** State types of vhost-user. */
export interface VhostUserParts {
  /** Part of the state that the transport saves of a device: nothing. */
  readonly config: ValueOf<typeof config>;
  /** Part of the state that the transport saves of a queue: nothing. */
  readonly queue: ValueOf<typeof queue>;
  /** Extra state of the transport, which there is not. */
  readonly extra: never;
}

/**
 * Saved state of a device behind vhost-user: `virtioDevice(vhostUser, blk)` is the codec of a disk. QEMU saves such
 * devices in its own proxy.
 */
export const vhostUser: TransportLayer<VhostUserParts> = {
  contract: 1,
  name: 'vhost-user',
  hasVariableVringAlignment: false,
  recognize: () => ({ confidence: 'possible' }),
  config,
  queue: () => queue,
};
