// Random machines as people write them: by libvirt's, Proxmox' and by hand, with devices that are not virtio; and a destination that
// differs in something, or is written in another way.
import type { Below } from './disguise.ts';

/** A part of a command line that can be there or not: an option, or several that belong together. */
type Part = string;

/** A machine as parts. */
export interface Machine {
  readonly type: string;
  /** Options of `-machine` behind the type: `usb=on`. */
  readonly options: readonly string[];
  readonly parts: readonly Part[];
}

interface Making {
  readonly below: Below;
  readonly pc: boolean;
  /** Identifiers of back ends, so that no two are the same. */
  readonly next: () => number;
}

type Maker = (making: Making) => Part;

const pick = <T>(below: Below, list: readonly T[]): T => list[below(list.length)] as T;
/** One of the texts, or none half of the time. */
const some = (below: Below, ...texts: string[]): string => (below(2) === 0 ? '' : pick(below, texts));

const disk = (id: number, more = ''): string =>
  `-drive if=none,id=d${id},file.driver=null-co,file.size=64M,format=raw${more}`;

/** Options of the machine, each with the values that it is given. */
const OPTIONS: Readonly<Record<string, readonly string[]>> = {
  usb: ['on', 'off'],
  vmport: ['off', 'on', 'auto'],
  smm: ['off', 'on'],
  sata: ['off', 'on'],
  smbus: ['off'],
  i8042: ['off'],
  hpet: ['off', 'on'],
  acpi: ['off', 'on'],
  'dump-guest-core': ['off'],
  'mem-merge': ['off'],
  pit: ['off'],
  nvdimm: ['on'],
  graphics: ['off'],
  'fd-bootchk': ['off'],
  'max-ram-below-4g': ['16M', '1G'],
  'default-bus-bypass-iommu': ['on'],
  'kernel-irqchip': ['off'],
  'suppress-vmdesc': ['on', 'off'],
  'enforce-config-section': ['on'],
};

/** What a machine gets beside its devices. */
const PLAIN: readonly Maker[] = [
  ({ below }) => `-vga ${pick(below, ['std', 'cirrus', 'qxl', 'vmware', 'none', 'virtio'])}`,
  ({ below }) => `-serial ${pick(below, ['null', 'none', 'null -serial null'])}`,
  ({ below }) => `-parallel ${pick(below, ['null', 'none'])}`,
  ({ below }) =>
    `-net ${pick(below, ['none', 'nic -net user', 'nic,model=e1000 -net user', 'nic,model=rtl8139'])}`,
  ({ below }) =>
    `-nic ${pick(below, ['none', 'user', 'user,model=e1000', 'user,model=e1000e', 'user,model=rtl8139', 'user,model=virtio-net-pci'])}`,
  () => '-usb',
  ({ below }) => `-usbdevice ${pick(below, ['tablet', 'mouse', 'keyboard'])}`,
  ({ below }) => `-${pick(below, ['hda', 'hdb', 'cdrom'])} null-co://`,
  ({ below }) =>
    `-drive file.driver=null-co,file.size=64M,format=raw,${pick(below, ['if=ide', 'if=ide,index=2', 'media=cdrom', 'if=scsi', 'if=virtio', 'if=floppy', 'index=3,media=disk', 'if=sd'])}`,
  ({ below }) =>
    `-global ${pick(below, ['PIIX4_PM.disable_s3=1', 'ICH9-LPC.disable_s3=1', 'kvm-pit.lost_tick_policy=delay', 'isa-debugcon.iobase=0x402', 'VGA.vgamem_mb=32', 'virtio-blk-pci.disable-legacy=on', 'qxl-vga.ram_size_mb=128', 'usb-tablet.usb_version=1', 'e1000.romfile=', 'isa-fdc.fdtypeA=144', 'mc146818rtc.lost_tick_policy=slew', 'PIIX4_PM.acpi-pci-hotplug-with-bridge-support=off', 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off', 'hda-duplex.mixer=off', 'ide-hd.model=x', 'pcie-root-port.hotplug=off', 'ich9-usb-uhci1.bandwidth=1000', 'rtl8139.romfile=', 'PIIX4_PM.smm_enabled=1', 'nec-usb-xhci.msi=on'])}`,
  ({ below }) => `-boot ${pick(below, ['order=cd', 'menu=on,strict=on', 'd'])}`,
  ({ below }) => `-rtc ${pick(below, ['base=utc,driftfix=slew', 'base=localtime', 'clock=vm'])}`,
  ({ below }) => `-smp ${pick(below, ['1', '2', '1,maxcpus=4', 'cpus=2,sockets=2,cores=1,threads=1'])}`,
  ({ below }) =>
    `-cpu ${pick(below, ['qemu64', 'qemu64,+kvm_pv_unhalt', 'kvm64', 'max', 'Haswell', 'qemu64,-svm'])}`,
  ({ below }) =>
    `-m ${pick(below, ['32', '64', '32,slots=2,maxmem=1G', 'size=65536k,slots=16,maxmem=4194304k'])}`,
  ({ below }) =>
    `-drive if=pflash,unit=0,format=raw,readonly=on,file.driver=null-co,file.read-zeroes=on,file.size=${pick(below, ['2M', '4M'])}${some(below, ' -drive if=pflash,unit=1,format=raw,file.driver=null-co,file.read-zeroes=on,file.size=128k')}`,
  () => '-no-shutdown',
  () => '-no-fd-bootchk',
  ({ below }) =>
    `-smbios type=1,uuid=${pick(below, ['00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002'])}`,
  () => '-device vmcoreinfo',
  () => '-device vmgenid,guid=324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87',
  () => '-device pvpanic',
  () => '-acpitable sig=SLIC,data=/dev/null',
  ({ below }) => `-fw_cfg name=opt/x,string=${pick(below, ['a', 'b'])}`,
  ({ next }) => `-object iothread,id=io${next()}`,
  ({ next }) => `-object rng-random,id=rng${next()},filename=/dev/urandom`,
  () => '-overcommit mem-lock=off',
  () => '-sandbox on,obsolete=deny',
  () => '-msg timestamp=on',
];

/** A device of `-device`. */
const DEVICES: readonly Maker[] = [
  ({ below }) =>
    `-device VGA${some(below, ',vgamem_mb=32', ',vgamem_mb=8', ',edid=off', ',xres=800,yres=600', ',id=video0')}`,
  ({ below }) =>
    `-device ${pick(below, ['cirrus-vga', 'qxl-vga', 'vmware-svga', 'bochs-display', 'qxl', 'secondary-vga', 'ramfb', 'virtio-vga', 'ati-vga', 'isa-vga'])}${some(below, ',id=v1')}`,
  ({ below }) =>
    `-device qxl-vga,${pick(below, ['ram_size=67108864,vram_size=67108864,vram64_size_mb=0,vgamem_mb=16,max_outputs=1', 'vgamem_mb=32', 'ram_size_mb=128', 'revision=3'])}`,
  ({ below }) =>
    `-device ${pick(below, ['e1000', 'e1000e', 'rtl8139', 'pcnet', 'ne2k_pci', 'vmxnet3', 'tulip', 'i82557b', 'i82801', 'e1000-82545em', 'e1000-82544gc', 'igb', 'usb-net,bus=x.0'])}${some(below, ',mac=52:54:00:11:22:33', ',romfile=', ',rombar=0')}`,
  ({ below, next }) => {
    const id = next();
    return `-netdev ${pick(below, ['user', 'hubport,hubid=0'])},id=n${id} -device ${pick(below, ['e1000', 'rtl8139', 'virtio-net-pci', 'e1000e', 'pcnet', 'virtio-net-pci-non-transitional'])},netdev=n${id}${some(below, ',mac=52:54:00:11:22:33', ',bootindex=2')}`;
  },
  ({ below, next }) => `-device piix3-usb-uhci,id=uhci${next()}${some(below, ',addr=1.2', ',addr=0x8')}`,
  ({ below, next }) =>
    `-device ${pick(below, ['usb-ehci', 'pci-ohci', 'ich9-usb-ehci1', 'ich9-usb-uhci1', 'piix4-usb-uhci'])},id=u${next()}`,
  () =>
    '-device ich9-usb-ehci1,id=usb,addr=0x9.0x7 -device ich9-usb-uhci1,masterbus=usb.0,firstport=0,addr=0x9.0,multifunction=on -device ich9-usb-uhci2,masterbus=usb.0,firstport=2,addr=0x9.1 -device ich9-usb-uhci3,masterbus=usb.0,firstport=4,addr=0x9.2',
  ({ below }) =>
    `-device ${pick(below, ['qemu-xhci', 'nec-usb-xhci'])},id=x${some(below, ',p2=8,p3=8', ',p2=15,p3=15', ',streams=off', ',msi=off,msix=off', ',intrs=1,slots=4')} -device ${pick(below, ['usb-tablet', 'usb-kbd', 'usb-mouse', 'usb-hub', 'usb-ccid', 'usb-audio', 'usb-wacom-tablet', 'usb-mtp,rootdir=/tmp'])},bus=x.0${some(below, ',port=1', ',port=2', ',id=input0')}`,
  ({ below, next }) => {
    const id = next();
    return `${disk(id)} -device ${pick(below, ['usb-storage', 'usb-storage,removable=on'])},drive=d${id}`;
  },
  ({ below, next }) => {
    const id = next();
    const bus = pick(below, [
      'lsi',
      'lsi53c810',
      'megasas',
      'megasas-gen2',
      'mptsas1068',
      'am53c974',
      'dc390',
      'pvscsi',
      'virtio-scsi-pci',
      'virtio-scsi-pci,num_queues=2',
    ]);
    return `-device ${bus},id=scsi${id}${some(below, ',addr=0x5')} ${disk(id)} -device ${pick(below, ['scsi-hd', 'scsi-cd', 'scsi-disk'])},bus=scsi${id}.0,drive=d${id}${some(below, ',scsi-id=1', ',channel=0,scsi-id=0,lun=0', ',lun=1', ',rotation_rate=1', ',serial=drive-1,bootindex=100', ',device_id=x', ',write-cache=on')}`;
  },
  ({ below, next, pc }) => {
    const id = next();
    return `${disk(id)} -device ${pick(below, ['ide-hd', 'ide-cd'])},drive=d${id},bus=ide.${below(pc ? 2 : 6)}${pc ? `,unit=${below(2)}` : ''}${some(below, ',rotation_rate=1', ',bootindex=1', ',serial=1234', ',write-cache=on', ',model=XYZ')}`;
  },
  ({ below, next }) => {
    const id = next();
    return `-device ${pick(below, ['ahci', 'ich9-ahci'])},id=ahci${id},multifunction=on${some(below, ',addr=0x7')} ${disk(id)} -device ide-hd,drive=d${id},bus=ahci${id}.${below(3)}`;
  },
  ({ below }) =>
    `-device ${pick(below, ['intel-hda', 'ich9-intel-hda'])},id=sound0${some(below, ',addr=0x1b')} -device ${pick(below, ['hda-duplex', 'hda-micro', 'hda-output'])},bus=sound0.0${some(below, ',cad=0', ',mixer=off')}`,
  ({ below }) => `-device ${pick(below, ['AC97', 'ES1370', 'sb16', 'adlib', 'cs4231a', 'gus'])}`,
  ({ below }) =>
    `-device ${pick(below, ['i6300esb', 'ib700', 'i6300esb,addr=0xa', 'itco-wdt', 'sga', 'pvpanic-pci', 'edu', 'pci-testdev', 'isa-debug-exit', 'isa-debugcon,chardev=dbg -chardev null,id=dbg', 'acpi-erst,memdev=erst -object memory-backend-ram,id=erst,size=64K', 'generic-sdhci', 'sdhci-pci', 'amd-iommu', 'intel-iommu', 'ipmi-bmc-sim,id=bmc -device isa-ipmi-kcs,bmc=bmc', 'ivshmem-plain,memdev=shm -object memory-backend-ram,id=shm,size=1M,share=on', 'nvme,serial=x', 'pc-testdev', 'smbus-eeprom', 'tpci200', 'vmclock', 'applesmc', 'isa-applesmc', 'hyperv-testdev', 'rocker'])}`,
  ({ below, next }) => {
    const id = next();
    return `-chardev null,id=c${id} -device ${pick(below, ['isa-serial', 'pci-serial', 'isa-parallel', 'usb-serial', 'isa-serial,index=1', 'isa-debugcon,iobase=0x402', 'usb-braille'])},chardev=c${id}`.replace(
      ',chardev=c',
      ',chardev=c',
    );
  },
  ({ below, next }) => {
    const id = next();
    return `-device pci-bridge,id=pci.${id + 1},chassis_nr=${id + 1}${some(below, ',addr=0x1e', ',shpc=off', ',msi=off')} -device ${pick(below, ['e1000', 'virtio-rng-pci', 'rtl8139', 'intel-hda'])},bus=pci.${id + 1},addr=${1 + below(3)}`;
  },
  ({ below, next, pc }) => {
    const id = next();
    if (pc) return '-device virtio-rng-pci';
    return `-device ${pick(below, ['pcie-root-port', 'ioh3420'])},id=rp${id},chassis=${id + 1},slot=${id + 1},port=${0x10 + id}${some(below, ',addr=0x1c', ',hotplug=off', ',multifunction=on', ',x-speed=2_5', ',io-reserve=0', ',pref64-reserve=1G')} -device ${pick(below, ['e1000e', 'virtio-net-pci', 'qemu-xhci', 'virtio-scsi-pci', 'virtio-balloon-pci', 'pcie-pci-bridge', 'nec-usb-xhci', 'igb'])},bus=rp${id}`;
  },
  ({ next }) => `-device i82801b11-bridge,id=br${next()}`,
  ({ below, next }) => {
    const id = next();
    return `${disk(id)} -device virtio-blk-pci,drive=d${id}${some(below, ',addr=0xb', ',num-queues=2', ',bootindex=1', ',packed=on', ',disable-legacy=on,disable-modern=false')}`;
  },
  ({ below }) =>
    `-device virtio-balloon-pci${some(below, ',id=balloon0,addr=0x3', ',free-page-reporting=on', ',deflate-on-oom=on')}`,
  () => '-device virtio-rng-pci,max-bytes=1024,period=1000',
  ({ next, below }) =>
    `-device virtio-serial-pci,id=vs${next()}${some(below, ',max_ports=16')} -chardev null,id=vsc -device virtserialport,chardev=vsc,name=org.qemu.guest_agent.0`,
  ({ below, next }) => {
    const id = next();
    return `-object memory-backend-ram,id=mem${id},size=${pick(below, ['128M', '256M'])} -device pc-dimm,memdev=mem${id}`;
  },
  () => '-device usb-tablet',
  () => '-device usb-kbd',
  () => '-device usb-hub',
];

/** A random machine of that type. */
export function randomMachine(below: Below, type: string): Machine {
  const making = makingOf(below, type);
  const options = new Map<string, string>();
  for (let n = below(3); n > 0; n--) {
    const [key, value] = randomOption(below);
    options.set(key, value);
  }
  const parts: Part[] = [
    '-accel tcg',
    pick(below, ['-m 32', '-m 32', '-m 64M,slots=1,maxmem=512M', '-m size=32768k,slots=2,maxmem=1048576k']),
  ];
  if (below(2) === 0) parts.push(pick(below, ['-nodefaults', '-nodefaults -no-user-config']));
  for (let n = below(3); n > 0; n--) parts.push(pick(below, PLAIN)(making));
  for (let n = 1 + below(4); n > 0; n--) parts.push(pick(below, DEVICES)(making));
  return { type, options: [...options].map(([key, value]) => `${key}=${value}`), parts };
}

let numbers = 0;
function makingOf(below: Below, type: string): Making {
  return { below, pc: type.startsWith('pc-i440fx'), next: () => numbers++ % 200 };
}

function randomOption(below: Below): readonly [string, string] {
  const key = pick(below, Object.keys(OPTIONS));
  const values = OPTIONS[key] ?? [];
  return [key, pick(below, values)];
}

/** The same machine, or one that differs in something. */
export function changedMachine(below: Below, machine: Machine): Machine {
  const parts = [...machine.parts];
  const options = new Map(
    machine.options.map((text): [string, string] => {
      const [key = '', value = ''] = text.split('=');
      return [key, value];
    }),
  );
  const making = makingOf(below, machine.type);
  const at = 1 + below(Math.max(parts.length - 1, 1));
  switch (below(12)) {
    case 0:
    case 1:
      break;
    case 2:
    case 3:
      if (at > 1) parts.splice(at, 1);
      break;
    case 4:
      parts.push(pick(below, DEVICES)(making));
      break;
    case 5:
      parts.push(pick(below, PLAIN)(making));
      break;
    case 6:
      parts.splice(2 + below(2), 0, pick(below, DEVICES)(making));
      break;
    case 7: {
      const [moved] = parts.splice(at, 1);
      if (moved !== undefined) parts.splice(1 + below(parts.length), 0, moved);
      break;
    }
    case 8:
    case 9: {
      const [key, value] = randomOption(below);
      if (options.has(key)) options.delete(key);
      else options.set(key, value);
      break;
    }
    case 10:
      if (parts.some((part) => part.startsWith('-nodefaults')))
        parts.splice(
          parts.findIndex((part) => part.startsWith('-nodefaults')),
          1,
        );
      else parts.splice(1, 0, '-nodefaults');
      break;
    default:
      parts.splice(at, 1, changedPart(below, parts[at] ?? ''));
  }
  return { type: machine.type, options: [...options].map(([key, value]) => `${key}=${value}`), parts };
}

/** The part without its last property, with another device that points, or with an alias. */
function changedPart(below: Below, part: string): string {
  switch (below(3)) {
    case 0:
      return part.replace(/,[^, ]+$/, '');
    case 1:
      return part.replace(/usb-(tablet|kbd)/, 'usb-mouse');
    default:
      return part.replace(/(virtio-[a-z]+)-pci/, '$1');
  }
}

/** Its command line. */
export function lineOf({ type, options, parts }: Machine, program = 'qemu-system-x86_64'): string {
  return `${program} ${[`-machine ${[type, ...options].join(',')}`, ...parts].join(' ')}`;
}

const DEVICE = /-device ([^{'\s]\S*)/g;

/** The same line, whose devices are written in other ways: JSON, `-set`, `-global`, aliases. */
export function restyled(line: string, below: Below): string {
  const behind: string[] = [];
  const styled = line.replace(DEVICE, (whole: string, text: string) => {
    const [driver = '', ...pairs] = text.split(',');
    const id = pairs.find((pair) => pair.startsWith('id='))?.slice(3);
    const last = pairs.at(-1);
    switch (below(10)) {
      case 0:
        return `-device '${JSON.stringify({ driver, ...Object.fromEntries(pairs.map(typed)) })}'`;
      case 1:
        if (id === undefined || last === undefined || last.startsWith('id=') || last.startsWith('bus='))
          return whole;
        behind.push(`-set device.${id}.${last}`);
        return `-device ${[driver, ...pairs.slice(0, -1)].join(',')}`;
      case 2:
        return `-device ${[...pairs, `driver=${driver}`].join(',')}`;
      case 3:
        return whole.replace(/=on\b/g, '=true').replace(/=off\b/g, '=no');
      case 4:
        return `--device ${text}`;
      default:
        return whole;
    }
  });
  return [styled, ...behind].join(' ');
}

const TEXT =
  /^(addr|serial|mac|drive|netdev|romfile|id|bus|chardev|guid|write-cache|model|scsi|device_id|port|memdev|name|bmc|x-speed|filename)$/;
function typed(pair: string): [string, unknown] {
  const split = pair.indexOf('=');
  const [key, value] = [pair.slice(0, split), pair.slice(split + 1)];
  if (TEXT.test(key)) return [key, value];
  if (value === 'on' || value === 'off') return [key, value === 'on'];
  return [key, /^\d+$/.test(value) ? Number(value) : /^0x[0-9a-f]+$/.test(value) ? Number(value) : value];
}
