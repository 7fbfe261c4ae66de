// Sections that machines have by themselves, and the options of the machine on which some of them depend.
import { switchOf } from '@virtkit/core/qemu';
import type { BoardWords } from './destination.ts';

/** Machines whose own sections are known here. */
export type KnownBoard = 'i440fx' | 'q35' | 'microvm' | 's390' | 'virt';

/** Finds the kind of a machine type; undefined: its sections are not known here. */
export function knownBoard(machine: string, arch: string): KnownBoard | undefined {
  if (/^pc-i440fx/.test(machine)) return 'i440fx';
  if (/^pc-q35/.test(machine)) return 'q35';
  if (/^microvm/.test(machine)) return 'microvm';
  if (/^s390-ccw-virtio/.test(machine)) return 's390';
  return /^virt($|-)/.test(machine) && /^(aarch64|arm)$/.test(arch) ? 'virt' : undefined;
}

const COMMON = 'timer cpu cpu_common globalstate PCIHost PCIBUS fw_cfg kvmclock dirty-bitmap block ram audio';
const X86 = `${COMMON} apic kvm-tpr-opt ioapic i8259 dma mc146818rtc i8254=pit pcspk=pit port92=i8042 pckbd=i8042 ps2kbd=i8042 ps2mouse=i8042 vmmouse=i8042,vmport hpet=hpet acpi_build=acpi`;
const UHCI = '0000:00:1d.0/uhci=usb 0000:00:1d.1/uhci=usb 0000:00:1d.2/uhci=usb 0000:00:1d.7/ehci=usb';

/**
 * Names of sections, and behind `=` the options that all must be on for it. From streams of QEMU 5.2, 7.2, 10.0 and 11.1 with each
 * option on and off.
 */
const SECTIONS: Readonly<Record<KnownBoard, string>> = {
  i440fx: `${X86} fdc i2c_bus=acpi 0000:00:00.0/I440FX 0000:00:01.0/PIIX3 0000:00:01.1/ide 0000:00:01.2/uhci=usb 0000:00:01.3/piix4_pm=acpi`,
  q35: `${X86} i2c_bus=smbus 0000:00:00.0/mch 0000:00:1f.0/ICH9LPC 0000:00:1f.2/ich9_ahci=sata 0000:00:1f.3/ich9_smb=smbus ${UHCI}`,
  microvm: `${COMMON} apic kvm-tpr-opt ioapic i8259=pic i8254=pit mc146818rtc=rtc acpi-ged=acpi 0000:00:00.0/gpex_root=pcie xhci-sysbus=usb`,
  s390: `${COMMON} ipl qemu-s390-flic s390-skeys s390-storage_attributes s390_control_program_id s390_css sclpquiesce todclock vmstate-event-facility`,
  virt: `${COMMON} 0000:00:00.0/gpex_root gpio-key pflash_cfi01 pl011 pl031 pl061 virt_acpi_build=acpi acpi-ged=acpi arm_gic arm_gicv3 arm_gicv3_its smmuv3`,
};

const OFF_BY_DEFAULT: ReadonlySet<string> = new Set(['usb', 'pcie']);

/**
 * Has the board this section? A list names options of the machine without which it has not. Undefined: it is none of
 * the board's.
 */
export function boardHas(
  kind: KnownBoard,
  idstr: string,
  { options }: BoardWords,
): 'yes' | { readonly option: string } | undefined {
  const row = ROWS[kind].get(idstr);
  if (row === undefined) return undefined;
  const off = row.find((option) => (switchOf(options.get(option)) ?? !OFF_BY_DEFAULT.has(option)) === false);
  return off === undefined ? 'yes' : { option: off };
}

const rows = (text: string): ReadonlyMap<string, readonly string[]> =>
  new Map(
    text.split(' ').map((word) => {
      const [name = '', options] = word.split('=');
      return [name, options?.split(',') ?? []];
    }),
  );

const ROWS: Readonly<Record<KnownBoard, ReadonlyMap<string, readonly string[]>>> = {
  i440fx: rows(SECTIONS.i440fx),
  q35: rows(SECTIONS.q35),
  microvm: rows(SECTIONS.microvm),
  s390: rows(SECTIONS.s390),
  virt: rows(SECTIONS.virt),
};
