import { u8, u16, u32, type ValueOf, vmstate } from '@virtkit/vmstate';
import { type NdescsPlace, portBuffer } from './port-buffer.ts';

function portField(place: NdescsPlace | undefined) {
  return vmstate('port', 1).fields({
    id: u32,
    /** Flag that the guest has the port open. */
    guestConnected: u8,
    /** Flag that something is at the host's end. */
    hostConnected: u8,
    /** Buffer that the guest wrote and the host's end has not all taken. QEMU: `elem_popped` and what follows. */
    buffer: portBuffer(place),
  });
}

/** Makes the field of what QEMU's `save_device` writes: a map of ports in words of 32 bits, and each port. */
export function stateField(words: number, place?: NdescsPlace) {
  return (
    vmstate('virtio-console-device', 3)
      .fields({
        /**
         * Number of columns of the configuration space, with rows and ports behind it, as they lie in QEMU's memory;
         * read by nobody.
         */
        cols: u16,
        rows: u16,
        maxNrPorts: u32,
      })
      /** Bitmap of the ports that are there, port 0 always, in words of 32. The target must have the same. */
      .array('portsMap', u32, () => words)
      .fields({ nrActivePorts: u32 })
      .array('ports', portField(place), ({ nrActivePorts }) => nrActivePorts)
  );
}

/** State of a console device with its ports. QEMU: `virtio_serial_save_device` */
export type ConsoleState = ValueOf<ReturnType<typeof stateField>>;
/** State of a port of a console device. QEMU: `VirtIOSerialPort` */
export type ConsolePort = ConsoleState['ports'][number];
