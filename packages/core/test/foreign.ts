/** A transport and a device type as somebody outside would write them: see the README. With a quirk each of QEMU's own. */
import { type DeviceLayer, type Step, type TransportLayer, virtioDevice } from '@virtkit/core';
import { list, u8, u16, u32, type ValueOf, vmstate } from '@virtkit/vmstate';

const busConfig = vmstate('mybus', 1).fields({
  /** Says that it is this transport. */
  magic: u32,
  slot: u32,
  /** Queues have a line each. */
  lines: u8,
});
const queueLine = vmstate('mybus_queue', 1).fields({ line: u8 });
const noQueueState = vmstate('mybus_queue', 1);
const busExtra = vmstate('mybus_extra', 1).fields({ generation: u16 });

export interface BusParts {
  readonly config: ValueOf<typeof busConfig>;
  readonly queue: { readonly line?: number };
  readonly extra: ValueOf<typeof busExtra>;
}

export const BUS_MAGIC = 0x6d796275;

export const bus: TransportLayer<BusParts> = {
  contract: 1,
  name: 'mybus',
  hasVariableVringAlignment: true,
  recognize: (input) =>
    input.remaining >= 4 && input.view.getUint32(input.offset) === BUS_MAGIC
      ? { confidence: 'certain', virtioId: 99 }
      : undefined,
  config: busConfig,
  // which form a queue has depends on the configuration, as PCI's vector does
  queue: ({ lines }) => (lines === 0 ? noQueueState : queueLine) as typeof noQueueState,
  extraState: busExtra,
  check: ({ transport, queues }, report) => {
    queues.forEach(({ transport: { line = 0 } }, index) => {
      if (line < 8) return;
      report({
        code: 'line',
        severity: 'error',
        path: `queues[${index}].transport.line`,
        reason: `line ${line} of 8 in slot ${transport.slot}`,
        facts: { line, limit: 8 },
      });
    });
  },
};

const lampState = vmstate('virtio-lamp-device', 3)
  .fields({ brightness: u8, schedule: list(u16, 16) })
  .subsection('colour', 'virtio-lamp-device/colour', u32);
export type LampState = ValueOf<typeof lampState>;

export const lamp: DeviceLayer<LampState> = {
  contract: 1,
  name: 'virtio-lamp',
  virtioId: 99,
  version: 3,
  minimum: 3,
  features: { 0: 'VIRTIO_LAMP_F_DIM' },
  loadDevice: () => [lampState],
  saveDevice: () => lampState,
  check: ({ device, guestFeatures }, report) => {
    if (device.brightness === 0 || (guestFeatures & 1) === 1) return;
    report({
      code: 'dim',
      severity: 'warning',
      path: 'device.brightness',
      reason: `brightness ${device.brightness} though VIRTIO_LAMP_F_DIM is not negotiated`,
      facts: { brightness: device.brightness },
    });
  },
};

export const lampOnBus = virtioDevice(bus, lamp);

/** A state with something in every part. */
export const lampState1: ReturnType<typeof lampOnBus.decode> = {
  transport: { magic: BUS_MAGIC, slot: 5, lines: 1 },
  status: 0x0f,
  isr: 1,
  queueSel: 0,
  guestFeatures: 1,
  config: Uint8Array.of(1, 2, 3, 4),
  queues: [
    { num: 64, align: 4096, desc: 0x1234_5678_9abc_d000n, lastAvailIdx: 7, transport: { line: 3 } },
    { num: 32, align: 64, desc: 0n, lastAvailIdx: 0, transport: { line: 4 } },
  ],
  device: { brightness: 200, schedule: [1, 2, 65535], colour: 0xff8800 },
  subsections: { features64: 1n, extraState: { generation: 9 }, started: true },
};

/** `column call queue` of each step. */
export function told(steps: readonly Step[]): string[] {
  return steps.map(({ column, call, queue, action }) => [column, call ?? action, queue].join(' ').trim());
}
