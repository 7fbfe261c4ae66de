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

/** Longest machine name that is believed, in bytes. QEMU's are under 40. */
const NAME_MAX = 1024;
/** Largest number of capabilities that is believed; QEMU has about 30. */
const CAPABILITIES_MAX = 256;

/** Field of a VM's UUID in its textual form. */
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

/** Section with the machine type and the capabilities of a stream. QEMU: `vmstate_configuration` */
export const configuration = vmstate('configuration', 1)
  .fields({
    /** Name of the concrete machine type, such as `pc-q35-7.2`, with a be32 length in front. */
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

/** Type of the value that {@link configuration} decodes. */
export type Configuration = ValueOf<typeof configuration>;
