import type { TransportLayer } from '@virtkit/core';
import { type ValueOf, vmstate } from '@virtkit/vmstate';

/** vhost-user saves nothing of its own: what the front end has set up, it sets up again. */
const config = vmstate('vhost_user', 1).fields({});
const queue = vmstate('vhost_user_queue', 1).fields({});

/** The state types of vhost-user. */
export interface VhostUserParts {
  readonly config: ValueOf<typeof config>;
  readonly queue: ValueOf<typeof queue>;
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
