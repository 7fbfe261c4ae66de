import { bytesFromJson, bytesToJson, type Field, type Json, type Reader, StateError } from '@virtkit/vmstate';
import { PCI_HEADER } from './pci-header.ts';

/** Length in bytes of a conventional function's configuration space. */
export const CONVENTIONAL_BYTES = 256;
/** Length in bytes of a PCI Express function's configuration space. */
export const EXPRESS_BYTES = 4096;

/** Mask of the bits of a capability pointer that count: capabilities are aligned to words. PCI 3.0 §6.7 */
const POINTER_BITS = 0xfc;
/** Number of capabilities of 4 bytes that fill the space behind the header: more are a loop. */
const CAPABILITIES_MAX = 48;
/**
 * Bits of the MSI-X message control: number of entries of the table less one, function mask, enable. PCI 3.0 §6.8.2.3
 */
const MSIX_CONTROL = { TABLE_SIZE: 0x7ff, MASKED: 0x4000, ENABLED: 0x8000 } as const;
const CAPABILITY = { POWER: 0x01, VENDOR: 0x09, EXPRESS: 0x10, MSIX: 0x11 } as const;

/** Entry of the capability list. */
export interface Capability {
  /** Kind of the capability. PCI 3.0, appendix H. */
  readonly id: number;
  /** Offset in configuration space. */
  readonly at: number;
}

/** Lists the capabilities. A list that loops or leaves the space ends there. */
export function capabilities(config: Uint8Array): Capability[] {
  const found: Capability[] = [];
  let at = (config[PCI_HEADER.CAPABILITIES] ?? 0) & POINTER_BITS;
  while (at >= PCI_HEADER.END && found.length < CAPABILITIES_MAX) {
    found.push({ id: config[at] ?? 0, at });
    at = (config[at + 1] ?? 0) & POINTER_BITS;
  }
  return found;
}

/** Number of entries of the MSI-X table, 0 without the capability. Message control bits 10 to 0, plus 1. */
export function msixVectors(config: Uint8Array): number {
  const capability = capabilities(config).find(({ id }) => id === CAPABILITY.MSIX);
  return capability === undefined ? 0 : (u16(config, capability.at + 2) & MSIX_CONTROL.TABLE_SIZE) + 1;
}

/**
 * Field of the raw configuration space: 4096 bytes if it has a PCI Express capability, else 256. The stream does not
 * say which; QEMU gives a virtio function that capability exactly when it is an express function.
 */
export const configSpace: Field<Uint8Array> = {
  type: 'pci config',
  minSize: CONVENTIONAL_BYTES,
  decode: (input) => {
    const size = sizeAt(input);
    if (input.trace !== undefined) input.trace.current.wire = wireName(size);
    return input.copy(size);
  },
  encode: (output, value) => {
    const size = isExpress(value) ? EXPRESS_BYTES : CONVENTIONAL_BYTES;
    if (value.length !== size) {
      throw new StateError('length', `configuration space of ${value.length} bytes, ${size} expected`, {
        found: value.length,
        expected: size,
      });
    }
    if (output.trace !== undefined) output.trace.current.wire = wireName(size);
    output.raw(value);
  },
  toJSON: bytesToJson,
  fromJSON: bytesFromJson,
};

/**
 * Finds the name of the field in the vmdesc: QEMU has two fields called `config`, one of which is there, and numbers
 * them.
 */
function wireName(size: number): string {
  return size === EXPRESS_BYTES ? 'config[1]' : 'config[0]';
}

function sizeAt(input: Reader): number {
  const probe = input.bytes.subarray(input.offset, input.offset + CONVENTIONAL_BYTES);
  return isExpress(probe) ? EXPRESS_BYTES : CONVENTIONAL_BYTES;
}

function isExpress(config: Uint8Array): boolean {
  return capabilities(config).some(({ id }) => id === CAPABILITY.EXPRESS);
}

const VIRTIO_CAPABILITIES = [
  '',
  'common',
  'notify',
  'isr',
  'device',
  'pci-cfg',
  '',
  '',
  'shared-memory',
  'vendor',
];

/** Names the fields of configuration space as the PCI specification does. */
export function describeConfigSpace(config: Uint8Array): Json {
  return {
    vendorId: hex(u16(config, PCI_HEADER.VENDOR_ID), 4),
    deviceId: hex(u16(config, PCI_HEADER.DEVICE_ID), 4),
    command: hex(u16(config, PCI_HEADER.COMMAND), 4),
    commandBits: bits(u16(config, PCI_HEADER.COMMAND), {
      0: 'io',
      1: 'memory',
      2: 'bus-master',
      10: 'intx-disable',
    }),
    status: hex(u16(config, PCI_HEADER.STATUS), 4),
    revisionId: config[PCI_HEADER.REVISION_ID] ?? 0,
    classCode: hex((u16(config, PCI_HEADER.CLASS + 1) << 8) | (config[PCI_HEADER.CLASS] ?? 0), 6),
    headerType: hex(config[PCI_HEADER.HEADER_TYPE] ?? 0, 2),
    bars: describeBars(config),
    subsystemVendorId: hex(u16(config, PCI_HEADER.SUBSYSTEM_VENDOR_ID), 4),
    subsystemId: hex(u16(config, PCI_HEADER.SUBSYSTEM_ID), 4),
    interruptLine: config[PCI_HEADER.INTERRUPT_LINE] ?? 0,
    interruptPin: config[PCI_HEADER.INTERRUPT_PIN] ?? 0,
    capabilities: capabilities(config).map((capability) => describeCapability(config, capability)),
  };
}

function describeBars(config: Uint8Array): Json {
  const bars: Record<string, Json>[] = [];
  for (let index = 0; index < 6; index++) {
    const low = u32(config, PCI_HEADER.BAR0 + 4 * index);
    if (low === 0) continue;
    const isIo = (low & 1) !== 0;
    const is64 = !isIo && (low & 6) === 4;
    const high = is64 ? BigInt(u32(config, PCI_HEADER.BAR0 + 4 * (index + 1))) << 32n : 0n;
    const address = (high | BigInt(low)) & ~(isIo ? 3n : 15n);
    bars.push({
      bar: index,
      kind: isIo ? 'io' : is64 ? 'memory64' : 'memory32',
      address: `0x${address.toString(16)}`,
    });
    if (is64) index++;
  }
  return bars;
}

function describeCapability(config: Uint8Array, { id, at }: Capability): Json {
  const place = { at: hex(at, 2) };
  if (id === CAPABILITY.MSIX) {
    const control = u16(config, at + 2);
    const [table, pba] = [u32(config, at + 4), u32(config, at + 8)];
    return {
      ...place,
      name: 'msi-x',
      vectors: (control & MSIX_CONTROL.TABLE_SIZE) + 1,
      enabled: (control & MSIX_CONTROL.ENABLED) !== 0,
      functionMasked: (control & MSIX_CONTROL.MASKED) !== 0,
      table: `bar ${table & 7} + ${hex(table & ~7)}`,
      pba: `bar ${pba & 7} + ${hex(pba & ~7)}`,
    };
  }
  if (id === CAPABILITY.EXPRESS) return { ...place, name: 'pci-express' };
  if (id === CAPABILITY.POWER) return { ...place, name: 'power-management' };
  if (id !== CAPABILITY.VENDOR) return { ...place, id: hex(id, 2) };
  const type = config[at + 3] ?? 0;
  return {
    ...place,
    name: `virtio-${VIRTIO_CAPABILITIES[type] || type}`,
    bar: config[at + 4] ?? 0,
    offset: hex(u32(config, at + 8)),
    length: hex(u32(config, at + 12)),
    ...(type === 2 && { notifyOffMultiplier: u32(config, at + 16) }),
  };
}

function bits(value: number, names: Readonly<Record<number, string>>): Json {
  return Object.entries(names)
    .filter(([bit]) => ((value >> Number(bit)) & 1) === 1)
    .map(([, name]) => name);
}

function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
}

function u32(bytes: Uint8Array, at: number): number {
  return (u16(bytes, at) | (u16(bytes, at + 2) << 16)) >>> 0;
}

function hex(value: number, digits = 1): string {
  return `0x${(value >>> 0).toString(16).padStart(digits, '0')}`;
}
