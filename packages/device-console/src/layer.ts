import {
  type DeviceLayer,
  type EarlyState,
  type Report,
  reportError,
  type TransportParts,
  type VirtioState,
} from '@virtkit/core';
import { type Field, type Reader, u8, u16, u32, type ValueOf, vmstate } from '@virtkit/vmstate';
import { describeConsoleConfig } from './config-space.ts';
import { consoleFeatures } from './features.ts';
import { type NdescsPlace, portBuffer } from './port-buffer.ts';

/** Most ports of a device. QEMU's `VIRTIO_QUEUE_MAX` of 1024 queues, two for each port and two for control. */
export const PORTS_MAX = 511;

function portField(place: NdescsPlace | undefined) {
  return vmstate('port', 1).fields({
    id: u32,
    /** The guest has it open. */
    guestConnected: u8,
    /** Something is at the host's end. */
    hostConnected: u8,
    /** What the guest wrote and the host's end has not all taken. QEMU: `elem_popped` and what follows. */
    buffer: portBuffer(place),
  });
}

function stateField(words: number, place?: NdescsPlace) {
  return (
    vmstate('virtio-console-device', 3)
      .fields({
        /** Columns, rows and ports of the configuration space, as they lie in QEMU's memory; read by nobody. */
        cols: u16,
        rows: u16,
        maxNrPorts: u32,
      })
      /** A bit for each port that is there, port 0 always, in words of 32. The target must have the same. */
      .array('portsMap', u32, () => words)
      .fields({ nrActivePorts: u32 })
      .array('ports', portField(place), ({ nrActivePorts }) => nrActivePorts)
  );
}

/** State of a console device with its ports. QEMU: `virtio_serial_save_device` */
export type ConsoleState = ValueOf<ReturnType<typeof stateField>>;
/** A port of a console device. QEMU: `VirtIOSerialPort` */
export type ConsolePort = ConsoleState['ports'][number];

/** virtio-console, with all kinds of ports (QEMU's `virtio-serial`): Virtio 1.3 §5.3; QEMU `hw/char/virtio-serial-bus.c`. */
export const virtioConsole: DeviceLayer<ConsoleState> = {
  contract: 1,
  name: 'virtio-console',
  virtioId: 3,
  version: 3,
  minimum: 3,
  features: consoleFeatures,
  loadDevice,
  saveDevice: ({ portsMap }) => stateField(portsMap.length),
  check,
  describeConfig: describeConsoleConfig,
};

/** The map is as long as the most ports ask for; their number, in a byte order nobody knows, is told by the queues, too. */
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
