import { virtioConsole } from './layer.ts';
import { ConsoleDevice as LiveConsoleDevice } from './live/device.ts';

/**
 * virtio-console, live, of whose state bytes can be made, with all kinds of ports: Virtio 1.3 §5.3; QEMU `hw/char/virtio-serial-bus.c`, `hw/char/virtio-console.c`.
 *
 * ```ts
 * const serial = new ConsoleDevice({ ports: [{ console: true, backend: terminalPort(terminal) }, { name: 'agent', backend }] });
 * const { device } = new PciFunction(serial, { memory }); // of @virtkit/transport-pci
 * ```
 *
 * A save needs no drain: a buffer that a back end has taken a part of is in the state, and goes on there where the state is restored.
 */
export class ConsoleDevice extends LiveConsoleDevice {
  override readonly layer: typeof virtioConsole = virtioConsole;
}
