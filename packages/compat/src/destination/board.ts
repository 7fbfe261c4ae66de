import { bytesOf, numberOf } from '@virtkit/core/qemu';
import { withoutPve } from '../distributions/machine-types.ts';
import type { BoardWords } from './destination.ts';
import { userNetworks } from './network.ts';
import type { CommandOptions, Parsed } from './options.ts';
import type { Unplaced } from './place.ts';

/**
 * Finds the machine type of a command line: `pc` and the other names without a version stand for the newest machine of
 * the program.
 */
export function machineName({ arch, qemu, options, machineAlias }: Parsed): string {
  const machine = withoutPve(options.machine.get('type') ?? (arch === 's390x' ? 's390-ccw-virtio' : 'pc'));
  const full: Readonly<Record<string, string>> = {
    pc: 'pc-i440fx',
    'pc-i440fx': 'pc-i440fx',
    q35: 'pc-q35',
    's390-ccw-virtio': 's390-ccw-virtio',
    's390-ccw': 's390-ccw-virtio',
    pseries: 'pseries',
    ...(/^(aarch64|arm|m68k)$/.test(arch) && { virt: 'virt' }),
  };
  const name = Object.hasOwn(full, machine) ? full[machine] : undefined;
  return name === undefined ? machine : (machineAlias?.(name) ?? `${name}-${qemu}`);
}

/** Devices behind the names that `-vga` takes. */
const DISPLAYS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    std: 'VGA',
    cirrus: 'cirrus-vga',
    qxl: 'qxl-vga',
    virtio: 'virtio-vga',
    vmware: 'vmware-svga',
  }),
);

/** Devices that take the place of the display that a machine has by default. QEMU: `default_list` */
const DISPLAY_DEVICES = new Set([
  ...[
    'VGA',
    'isa-vga',
    'cirrus-vga',
    'isa-cirrus-vga',
    'vmware-svga',
    'qxl-vga',
    'virtio-vga',
    'virtio-vga-gl',
  ],
  ...['ati-vga', 'vhost-user-vga'],
]);

/** Lists the display that a PC puts on its bus, unless `-nodefaults` forbids it or there is another one. */
export function boardDevices({ options }: Parsed, machine: string): Unplaced[] {
  if (!/^pc-/.test(machine)) return [];
  const other = [...options.group('device'), ...options.jsonDevices].some(({ values }) =>
    DISPLAY_DEVICES.has(values.get('driver') ?? ''),
  );
  const byDefault = options.defaults && !other ? 'std' : 'none';
  const driver = DISPLAYS.get(options.vga ?? byDefault);
  return driver === undefined ? [] : [{ driver, properties: new Map() }];
}

/** Pattern of types of which the board has devices by itself. */
const BOARD_DRIVERS =
  /^(PIIX.*|ICH9.*|i440FX.*|q35-pcihost|mch|mc146818rtc|hpet|ioapic|apic.*|isa-.*|i8042|i8257|pckbd|port92|vmport|vmmouse|fw_cfg.*|acpi-.*|gpex.*|pl0.*|kvm.*|pic-.*|pit-.*|pci-host.*|pcie-host.*|s390-.*|sclp.*)$/;
/** Pattern of `-global` properties of the board's devices with and without which a real QEMU loads. */
const HARMLESS_GLOBALS =
  /^(kvm-pit\.lost_tick_policy|(PIIX4_PM|ICH9-LPC)\.disable_s[34]|ICH9-LPC\.noreboot|mc146818rtc\.lost_tick_policy|isa-debugcon\..*|isa-fdc\.(fallback|drive[AB])|(i440FX|q35)-pcihost\.(x-)?pci-hole64-(size|fix)|fw_cfg.*\.(dma_enabled|x-file-slots)|(mch|q35-pcihost)\.extended-tseg-mbytes)$/;

/** Collects what the command line says of the board's own sections and blocks of RAM. */
export function boardWords(options: CommandOptions, arch: string): BoardWords {
  return {
    arch,
    options: options.machine,
    ownFirmware: options.firmware,
    flash: flashOf(options),
    floppies: options.group('drive').some(({ values }) => values.get('if') === 'floppy'),
    globals: options.globals
      .filter(
        ([driver, property]) => BOARD_DRIVERS.test(driver) && !HARMLESS_GLOBALS.test(`${driver}.${property}`),
      )
      .map(([driver, property, value]) => `${driver}.${property}=${value}`),
    userNetworks: userNetworks(options),
    serialPorts: ports(options, options.serial, /^(isa-serial|sclpconsole)$/),
    parallelPorts: ports(options, options.parallel, /^isa-parallel$/),
  };
}

/** Finds the flash memories of drives and of the machine's options, by unit. */
function flashOf(options: CommandOptions): ReadonlyMap<number, number | undefined> {
  const found = new Map<number, number | undefined>();
  for (const { values } of options.group('drive')) {
    if (values.get('if') !== 'pflash') continue;
    const said = numberOf(values.get('unit') ?? values.get('index'));
    found.set(said ?? found.size, bytesOf(values.get('size') ?? values.get('file.size'), 'b'));
  }
  for (const unit of [0, 1]) {
    const node = options.machine.get(`pflash${unit}`);
    if (node !== undefined) found.set(unit, options.nodeBytes.get(node));
  }
  return found;
}

/** Counts ports: one by default, unless others are named. */
function ports(options: CommandOptions, said: readonly string[], driver: RegExp): number {
  const devices = [...options.group('device'), ...options.jsonDevices].filter(({ values }) =>
    driver.test(values.get('driver') ?? ''),
  ).length;
  const named = said.filter((each) => each !== 'none').length;
  const byDefault = options.defaults && said.length === 0 && devices === 0 ? 1 : 0;
  return named + devices + byDefault;
}
