import { type Field, u64 } from '@virtkit/vmstate';

/**
 * A 64-bit register pair: two big-endian words, the low one first, as virtio-pci and virtio-mmio save the halves of
 * addresses and feature sets (QEMU: `uint32_t x[2]`).
 */
export const lowHigh: Field<bigint> = {
  ...u64,
  type: 'uint32',
  repeat: 2,
  decode: (input) => {
    const at = input.take(8);
    const low = input.view.getUint32(at);
    const high = input.view.getUint32(at + 4);
    return (BigInt(high) << 32n) | BigInt(low);
  },
  encode: (output, value) => {
    // u64 refuses what does not fit; then the halves change places
    const at = output.offset;
    u64.encode(output, value, undefined);
    output.view.setUint32(at, Number(value & 0xffffffffn));
    output.view.setUint32(at + 4, Number(value >> 32n));
  },
};
