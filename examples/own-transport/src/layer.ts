import type { TransportLayer } from '@virtkit/core';
import { u32, type ValueOf, vmstate } from '@virtkit/vmstate';

/** What the transport itself has to save: its number on the bus. Everything else is core's. */
const config = vmstate('virtio_messages', 1).fields({ address: u32 });
const queue = vmstate('virtio_messages_queue', 1).fields({});

export interface MessageParts {
  readonly config: ValueOf<typeof config>;
  readonly queue: ValueOf<typeof queue>;
  readonly extra: never;
}

/** The transport's part of a saved state. With it, `virtioDevice(messages, blk)` saves and loads a disk behind messages. */
export const messages: TransportLayer<MessageParts> = {
  contract: 1,
  name: 'messages',
  hasVariableVringAlignment: false,
  recognize: () => ({ confidence: 'possible' }),
  config,
  queue: () => queue,
};
