import {
  type DeviceIdentity,
  type Report,
  reportError,
  type TransportParts,
  type VirtioState,
} from '@virtkit/core/live';
import { consoleFeatures } from './features.ts';
import type { ConsoleState } from './state.ts';

/** Name, number and rules of virtio-console, without the format of its state. */
export const consoleIdentity: DeviceIdentity<ConsoleState> = {
  contract: 1,
  name: 'virtio-console',
  virtioId: 3,
  features: consoleFeatures,
  check,
};

function check(state: VirtioState<TransportParts, ConsoleState>, report: Report): void {
  const { portsMap, ports } = state.device;
  const seen = new Set<number>();
  ports.forEach(({ id, buffer }, index) => {
    const complain = (code: string, field: string, reason: string): void =>
      reportError(report, code, `device.ports[${index}].${field}`, reason, { port: id });
    if ((((portsMap[id >>> 5] ?? 0) >>> (id & 31)) & 1) === 0)
      complain('port-unknown', 'id', `port ${id} is not in the map of ports`);
    if (seen.has(id)) complain('port-twice', 'id', `port ${id} comes twice`);
    seen.add(id);
    if (buffer === null) return;
    const segment = buffer.element.out[buffer.iovIdx];
    if (segment === undefined)
      complain(
        'port-buffer',
        'buffer.iovIdx',
        `goes on in segment ${buffer.iovIdx} of ${buffer.element.out.length}`,
      );
    else if (buffer.iovOffset >= segment.len)
      complain(
        'port-buffer',
        'buffer.iovOffset',
        `goes on at byte ${buffer.iovOffset} of a segment of ${segment.len}`,
      );
  });
}
