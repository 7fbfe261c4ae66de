import { u8, u16, u32, type ValueOf, vmstate } from '@virtkit/vmstate';
import { type NdescsPlace, portBuffer } from './port-buffer.ts';

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

/** What `save_device` writes: a map of ports in words of 32 bits, and each port. */
export function stateField(words: number, place?: NdescsPlace) {
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
