import {
  type Gpa,
  type GuestMemory,
  type Report,
  type RequestInFlight,
  reportError,
  type TransportParts,
  type VirtioState,
} from '@virtkit/core/live';
import type { PortBuffer } from '../port-buffer.ts';
import type { ConsolePort, ConsoleState } from '../state.ts';
import type { Settings } from './options.ts';
import { fromSegment, type HalfWritten, toSegment } from './output.ts';
import { queuesOf } from './port.ts';

/** Makes the saved form of a half-written buffer. @param packed the device offers RING_PACKED */
export function bufferState(half: HalfWritten, packed: boolean, settings: Settings): PortBuffer {
  const { element, ndescs, done } = half;
  return {
    ...toSegment(element.out, done),
    element,
    ...(packed && { ndescs, ndescsPlace: settings.ndescs }),
    byteOrder: settings.hostEndian,
  };
}

/** Reads the half-written buffer that {@link bufferState} was made from. */
export function halfWritten({ buffer }: ConsolePort): HalfWritten | undefined {
  if (buffer === null) return undefined;
  const { element, iovIdx, iovOffset, ndescs = 1 } = buffer;
  return { element, ndescs, done: fromSegment(element.out, iovIdx, iovOffset) };
}

/** Lists half-written buffers as requests in flight. */
export function buffersInFlight({ device }: VirtioState<TransportParts, ConsoleState>): RequestInFlight[] {
  return device.ports.flatMap(({ id, buffer }, index) => {
    if (buffer === null) return [];
    const { element, ndescs } = buffer;
    const path = `device.ports[${index}].buffer.element.index`;
    return [{ queue: queuesOf(id).output, element, ...(ndescs !== undefined && { ndescs }), path }];
  });
}

/**
 * Makes a 16-bit field of the configuration space as QEMU saves it: the number that its host sees in the device's
 * bytes.
 */
export function swapped16(value: number, swap: boolean): number {
  return swap ? ((value & 0xff) << 8) | (value >>> 8) : value;
}

/**
 * Makes a 32-bit field of the configuration space as QEMU saves it: the number that its host sees in the device's
 * bytes.
 */
export function swapped32(value: number, swap: boolean): number {
  if (!swap) return value;
  return (swapped16(value & 0xffff, true) * 0x1_0000 + swapped16(value >>> 16, true)) >>> 0;
}

/**
 * Reports what in a state does not fit the ports of a device. @param map bits of the ports that there are, in words of
 * 32
 */
export function checkPorts(
  state: VirtioState<TransportParts, ConsoleState>,
  ids: ReadonlySet<number>,
  map: readonly number[],
  memory: GuestMemory,
  report: Report,
): void {
  const { portsMap, ports } = state.device;
  if (portsMap.length !== map.length || portsMap.some((word, index) => word !== map[index])) {
    // QEMU refuses the state without a word
    reportError(
      report,
      'ports',
      'device.portsMap',
      `ports ${shown(portsMap)}, and this device has ${shown(map)}`,
      { found: shown(portsMap), expected: shown(map) },
    );
    return;
  }
  for (const [index, port] of ports.entries()) {
    const path = `device.ports[${index}]`;
    if (!ids.has(port.id))
      reportError(report, 'port-unknown', `${path}.id`, `port ${port.id}, which this device does not have`, {
        port: port.id,
      });
    else checkBuffer(state, port, path, memory, report);
  }
}

function checkBuffer(
  state: VirtioState<TransportParts, ConsoleState>,
  { id, buffer }: ConsolePort,
  path: string,
  memory: GuestMemory,
  report: Report,
): void {
  if (buffer === null) return;
  const queue = queuesOf(id).output;
  const ring = state.queues[queue];
  if (ring === undefined || ring.desc === 0n) {
    reportError(
      report,
      'request-queue-idle',
      `${path}.buffer`,
      `a buffer of queue ${queue}, which is not set up`,
      { queue },
    );
    return;
  }
  for (const direction of ['out', 'in'] as const) {
    for (const [segment, { addr, len }] of buffer.element[direction].entries()) {
      const known = addr + len <= BigInt(Number.MAX_SAFE_INTEGER) && len > 0n;
      if (known && memory.covers(Number(addr) as Gpa, Number(len), direction === 'in')) continue;
      reportError(
        report,
        'request-memory',
        `${path}.buffer.element.${direction}[${segment}]`,
        `${len} bytes at 0x${addr.toString(16)} are not ${direction === 'in' ? 'writable ' : ''}guest memory`,
        { addr, len },
      );
    }
  }
}

/** Writes the numbers of the ports of a map. */
function shown(map: readonly number[]): string {
  const ids = map.flatMap((word, index) =>
    Array.from({ length: 32 }, (_, bit) => bit).flatMap((bit) =>
      ((word >>> bit) & 1) === 1 ? [32 * index + bit] : [],
    ),
  );
  return `${ids.join(', ')} of at most ${32 * map.length}`;
}
