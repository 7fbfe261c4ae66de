import type { DeviceLayer, EarlyState } from '@virtkit/core';
import type { Field, Reader } from '@virtkit/vmstate';
import { describeConsoleConfig } from './config-space.ts';
import { consoleIdentity } from './identity.ts';
import { PORTS_MAX } from './limits.ts';
import { type ConsoleState, stateField } from './state.ts';

/**
 * Saved state of virtio-console, with all kinds of ports (QEMU's `virtio-serial`): Virtio 1.3 §5.3; QEMU
 * `hw/char/virtio-serial-bus.c`.
 */
export const virtioConsole: DeviceLayer<ConsoleState> = {
  ...consoleIdentity,
  version: 3,
  minimum: 3,
  loadDevice,
  saveDevice: ({ portsMap }) => stateField(portsMap.length),
  describeConfig: describeConsoleConfig,
};

/**
 * Lists the forms of a state: its map is as long as the largest number of ports asks for, and that number, in a byte
 * order nobody knows, is told by the queues, too.
 */
function* loadDevice({ queues }: EarlyState, input: Reader): Iterable<Field<ConsoleState>> {
  const words = new Set([Math.ceil((queues.length / 2 - 1) / 32)]);
  if (input.remaining >= 8) {
    for (const little of [false, true])
      words.add(Math.ceil(input.view.getUint32(input.offset + 4, little) / 32));
  }
  for (const place of [undefined, 'before', 'after'] as const) {
    for (const count of words) {
      if (count > 0 && count <= Math.ceil(PORTS_MAX / 32)) yield stateField(count, place);
    }
  }
}
