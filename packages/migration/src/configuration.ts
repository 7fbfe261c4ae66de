import {
  bytesFromJson,
  bytesToJson,
  counted,
  countedText,
  type Field,
  named,
  StateError,
  typed,
  u8,
  u32,
  type ValueOf,
  vmstate,
} from '@virtkit/vmstate';

/** Longest machine name believed. QEMU's are under 40 bytes. */
const NAME_MAX = 1024;
/** Most capabilities believed; QEMU has about 30. */
const CAPABILITIES_MAX = 256;

/** A VM's UUID in its textual form. */
const uuid: Field<string> = {
  type: 'uint8',
  repeat: 16,
  minSize: 16,
  decode: (input) => {
    const digits = bytesToJson(input.borrow(16));
    return [
      digits.slice(0, 8),
      digits.slice(8, 12),
      digits.slice(12, 16),
      digits.slice(16, 20),
      digits.slice(20),
    ].join('-');
  },
  encode: (output, value) => {
    const digits = value.replaceAll('-', '');
    if (!/^[0-9a-f]{32}$/i.test(digits)) throw new StateError('value', `"${value}" is not a UUID`, { value });
    output.raw(bytesFromJson(digits));
  },
  toJSON: (value) => value,
  fromJSON: (json) => String(json),
};

/** The configuration section. QEMU: `vmstate_configuration` */
export const configuration = vmstate('configuration', 1)
  .fields({
    /** Concrete machine type, such as `pc-q35-7.2`; be32 length in front. */
    name: countedText(u32, NAME_MAX, 'len'),
  })
  // target page size in bits, where it is variable and not the smallest
  .subsection('targetPageBits', 'configuration/target-page-bits', u32)
  // migration capabilities that both sides must have alike
  .subsection(
    'capabilities',
    'configuration/capabilities',
    counted(u32, typed('capability', countedText(u8, 255)), CAPABILITIES_MAX, 'capabilities', 'caps_count'),
  )
  // capability validate-uuid is on
  .subsection('uuid', 'configuration/uuid', named('uuid.data', uuid));

/** {@link configuration}'s value. */
export type Configuration = ValueOf<typeof configuration>;
