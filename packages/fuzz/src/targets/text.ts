// What people paste: messages of QEMU, command lines.
import { askingCommand, checkInventory, explain, parseTarget } from '@virtkit/compat';
import { registry } from '../../../cli/src/registry.ts';
import { harmless } from '../harmless.ts';
import { demand, type FuzzTarget, unlessRefused } from '../target.ts';

const utf8 = (input: Uint8Array): string => Buffer.from(input).toString('utf8');
const bytes = (text: string): Uint8Array => Buffer.from(text, 'utf8');

const LOG = [
  'qemu-system-x86_64: Features 0x1c0010130afffaf unsupported. Allowed features: 0x10179bfffef',
  'Failed to load virtio-blk:virtio',
  "error while loading state for instance 0x0 of device '0000:00:02.0/virtio-blk'",
  'VQ 0 size 0x100 < last_avail_idx 0x0 - used_idx 0x5',
  'VQ 1 size 0x100 Guest index 0x1 inconsistent with Host index 0x0: delta 0x1',
  'load of migration failed: Invalid argument',
  'get_pci_config_device: Bad config data: i=0x10 read: 61 device: 1 cmask: ff wmask: c0 w1cmask:0',
  "Unknown savevm section or instance '0000:00:03.0/virtio-net' 0.",
  'Length mismatch: pc.ram: 0x8000000 in != 0x4000000: Invalid argument',
];

export const explained: FuzzTarget = {
  name: 'explain',
  about: "QEMU's messages and whole logs",
  lengthMax: 4096,
  run: (input) => {
    const text = utf8(input);
    // each line is explained at most once a part, and the text cannot grow
    demand(explain(text).length <= text.length, 'more explanations than characters');
  },
  seeds: function* seeds() {
    for (const line of LOG) yield bytes(line);
    yield bytes(LOG.join('\n'));
  },
  words: LOG.flatMap((line) => line.split(/(?<=[.:])\s/)),
};

const LINES = [
  'qemu-system-x86_64 -M q35,acpi=off -smp 4,maxcpus=8 -m 1G,slots=2,maxmem=4G -nodefaults -drive file=a.img,if=none,id=d0,format=raw -device virtio-blk-pci,drive=d0,num-queues=0x4,addr=3.1',
  `qemu-system-x86_64 -machine pc-i440fx-7.2 -device '{"driver":"virtio-net-pci","netdev":"n0","mac":"52:54:00:12:34:56","addr":"0x1.0x1"}' -netdev user,id=n0 -global virtio-net-pci.mrg_rxbuf=off`,
  'exec kvm -M s390-ccw-virtio -drive file=a,if=virtio -device virtio-rng-ccw,devno=fe.0.0001 # no\\\n -S',
  '/usr/bin/qemu-system-aarch64 -M virt -device pcie-root-port,id=rp,chassis=1 -device virtio-scsi-pci,bus=rp -set device.x.y=z -readconfig file -nic none',
  '["qemu-system-x86_64","-M","microvm","-device","virtio-serial-device,max_ports=4","-device","virtconsole,nr=1"]',
];

/** Content of every file that `-readconfig` names. */
const CONFIG =
  '[device "c"]\n  driver = "canokey"\n  file = "x"\n[chardev "a,path=x"]\n  backend = "file"\n[machine]\n  dumpdtb = "x"\n';

/** Words that would make a QEMU that is asked touch the host, and names that every object has a member of. */
const HOSTILE = [
  '-chardev file,id=a,,backend=file,,path=/x,path=/x -netdev tap,id=a,,script=/x -object rng-random,id=a,,filename=/x',
  '-blockdev driver=file,node-name=a,,driver=file,,filename=/x,filename=/x -audiodev alsa,id=a,,driver=wav,,path=/x',
  '-machine virt,dumpdtb=/x -M pc,,dumpdtb=/x -M q35,a,,dumpdtb=/x,b=c -global uefi-vars-x64.jsonfile=/x -set device.a.driver=canokey',
  '-device uefi-vars-x64,jsonfile=/x -device canokey,file=/x -device {"driver":"constructor"} -device __proto__ -vga toString',
  '-M constructor -audio model=constructor -fsdev local,id=a,,path=/x -object memory-backend-file,id=a,size=1,,mem-path=/x',
  '-readconfig f -drive if=pflash,file=a,,b,unit=0,,file.locking=on -machine pflash0=n -blockdev file,node-name=n,filename=/x,,locking=on',
];

export const commandLine: FuzzTarget = {
  name: 'command-line',
  about:
    "QEMU's command lines, as text, script, log or JSON; a QEMU that is asked what it makes of one touches nothing",
  lengthMax: 2048,
  run: (input) => {
    const commandLine = utf8(input);
    const target = unlessRefused(() => parseTarget('qemu-7.2', { commandLine, readConfig: () => CONFIG }));
    if (target?.destination === undefined) return;
    const { destination } = target;
    demand(
      destination.devices.every(({ driver }) => typeof driver === 'string'),
      'a device whose type is no text',
    );
    checkInventory(target, registry);
    harmless(
      unlessRefused(() => askingCommand(commandLine, destination, { readConfig: () => CONFIG })) ?? [],
    );
  },
  seeds: function* seeds() {
    for (const line of LINES) yield bytes(line);
    for (const line of HOSTILE) yield bytes(`qemu-system-x86_64 ${line}`);
  },
  words: [...LINES, ...HOSTILE].flatMap((line) => line.split(/[\s,=]+/).filter((word) => word.length > 2)),
};
