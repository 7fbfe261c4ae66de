import type { TransportLayer } from '@virtkit/core';
import { type ValueOf, vmstate } from '@virtkit/vmstate';

/** vhost-user saves nothing of its own: what the front end has set up, it sets up again. */
const config = vmstate('vhost_user', 1).fields({});
const queue = vmstate('vhost_user_queue', 1).fields({});

/** The state types of vhost-user. */
export interface VhostUserParts {
  /** What the transport saves of a device: nothing. */
  readonly config: ValueOf<typeof config>;
  /** What the transport saves of a queue: nothing. */
  readonly queue: ValueOf<typeof queue>;
  /** There is no further state of the transport. */
  readonly extra: never;
}

/** vhost-user as a transport: `virtioDevice(vhostUser, blk)` is the codec of a disk behind it. QEMU saves such devices in its own proxy. */
export const vhostUser: TransportLayer<VhostUserParts> = {
  contract: 1,
  name: 'vhost-user',
  hasVariableVringAlignment: false,
  recognize: () => ({ confidence: 'possible' }),
  config,
  queue: () => queue,
};
