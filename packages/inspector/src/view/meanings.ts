// What fields are, in a sentence, with the place in the specification. By the path in the state.
// QEMU: hw/virtio/virtio.c, hw/virtio/virtio-pci.c, hw/s390x/virtio-ccw.c, hw/virtio/virtio-mmio.c

/** Meaning of a field, and its source. */
export interface Meaning {
  readonly text: string;
  /** Section of the specification; absent: the field is QEMU's own. */
  readonly spec?: string;
}

const MEANINGS: readonly (readonly [pattern: RegExp, text: string, spec?: string])[] = [
  [/^status$/, 'How far the driver has come with the device, as bits.', 'Virtio 1.3 §2.1'],
  [
    /^isr$/,
    'Interrupts that the driver has not acknowledged: 1 a queue, 2 the configuration.',
    'Virtio 1.3 §4.1.4.5',
  ],
  [/^queueSel$/, 'The queue that the driver has selected for its registers.', 'Virtio 1.3 §4.1.4.3'],
  [/^guestFeatures$/, 'Bits 0 to 31 of the features that the driver has accepted.', 'Virtio 1.3 §2.2'],
  [
    /^config\b/,
    'The configuration space as the guest last read it, with its length in front.',
    'Virtio 1.3 §2.5',
  ],
  [/^numQueues$/, 'How many queues follow: up to the first whose ring has no entries.'],
  [/^queues\[\d+\]\.num$/, 'Entries of the ring; 0: the queue is not there.', 'Virtio 1.3 §2.7'],
  [
    /^queues\[\d+\]\.align$/,
    'Alignment of the used ring, which a legacy driver chooses.',
    'Virtio 1.3 §2.7.2',
  ],
  [/^queues\[\d+\]\.desc$/, 'Guest address of the descriptor table; 0: not set up.', 'Virtio 1.3 §2.7.5'],
  [
    /^queues\[\d+\]\.lastAvailIdx$/,
    'Where the device stands in the available ring: the next entry that it takes.',
    'Virtio 1.3 §2.7.13.3',
  ],
  [/vector$/i, 'Interrupt vector (MSI-X); 0xffff: none.', 'Virtio 1.3 §4.1.5.1.2'],
  [
    /^subsections\.features64$/,
    'Bits 0 to 63 of the accepted features; saved where there are any above bit 31.',
    'Virtio 1.3 §2.2',
  ],
  [/^subsections\.features128$/, 'Bits 64 to 127 of the accepted features.', 'Virtio 1.3 §2.2'],
  [
    /^subsections\.deviceEndian$/,
    'Byte order of the rings for a legacy driver: 1 little, 2 big.',
    'Virtio 1.3 §2.7.3',
  ],
  [
    /^subsections\.virtqueues\[\d+\]\.avail$/,
    'Guest address of the available ring, which the driver writes.',
    'Virtio 1.3 §2.7.6',
  ],
  [
    /^subsections\.virtqueues\[\d+\]\.used$/,
    'Guest address of the used ring, which the device writes.',
    'Virtio 1.3 §2.7.8',
  ],
  [
    /^subsections\.virtqueues/,
    'Addresses of the rings of each queue, where a 1.x driver puts them.',
    'Virtio 1.3 §2.7',
  ],
  [
    /^subsections\.packedVirtqueues\[\d+\]\.\w*WrapCounter$/,
    'Wrap counter: it changes each time the ring begins anew.',
    'Virtio 1.3 §2.8.1',
  ],
  [/^subsections\.packedVirtqueues/, 'Where the device stands in packed rings.', 'Virtio 1.3 §2.8'],
  [/^subsections\.ringsize/, 'The size of each ring before a driver changed it: a reset goes back to it.'],
  [
    /^subsections\.broken$/,
    'The guest broke a rule: the device does nothing until a reset.',
    'Virtio 1.3 §2.1.1',
  ],
  [/^subsections\.started$/, 'The driver has begun to use the device.'],
  [/^subsections\.disabled$/, 'The device may not reach memory: bus mastering is off.'],
  [/modernState\.(d|g)fselect$/, 'Which 32 feature bits the driver has selected.', 'Virtio 1.3 §4.1.4.3'],
  [/modernState\.vqs/, 'What a driver has written into the registers of a queue.', 'Virtio 1.3 §4.1.4.3'],
  [/^transport\.config$/, 'Configuration space of the PCI function.', 'Virtio 1.3 §4.1'],
  [/^transport\.irqState/, 'Levels of the interrupt pins.'],
  [
    /^transport\.msixTable/,
    'An interrupt vector: the address that is written, the data, and whether it is masked.',
    'PCI Local Bus 3.0 §6.8.2',
  ],
  [
    /^transport\.msixPba/,
    'Vectors that are masked and have an interrupt waiting.',
    'PCI Local Bus 3.0 §6.8.2',
  ],
  [/^device\.requests?/, 'Requests that the device had taken and not answered.'],
  [/^device\.mac$/, 'Hardware address of the card.', 'Virtio 1.3 §5.1.4'],
];

/** Finds the meaning of the field at a path; undefined where nothing is said. */
export function meaningOf(path: string): Meaning | undefined {
  const found = MEANINGS.find(([pattern]) => pattern.test(path));
  if (found === undefined) return undefined;
  const [, text, spec] = found;
  return { text, ...(spec !== undefined && { spec }) };
}
