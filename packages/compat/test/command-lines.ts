// Command lines of a source and of destinations that say the same, or something else, in another form. What a real QEMU decided
// is recorded beside (data/command-lines.json.br, by record-command-lines.ts).
import type { QemuArch } from '@virtkit/lab';

/** A source, and destinations that its stream goes to. */
export interface LineGroup {
  readonly arch: QemuArch;
  readonly source: string;
  /** What is told apart, and the destination's line: text for a shell. */
  readonly cases: readonly (readonly [what: string, line: string])[];
}

const PC = 'qemu-system-x86_64 -M pc -accel tcg -m 32 -nodefaults -no-user-config';
const Q35 = 'qemu-system-x86_64 -M q35 -accel tcg -m 32 -nodefaults -no-user-config';
const DISK = '-drive file.driver=null-co,if=none,id=d0,format=raw';
const NET = '-netdev hubport,hubid=0,id=n0';
const [BLK, CARD, RNG] = [
  '-device virtio-blk-pci,drive=d0',
  '-device virtio-net-pci,netdev=n0,romfile=',
  '-device virtio-rng-pci',
];
const THREE = `${PC} ${DISK} ${NET}`;
const CCW = `qemu-system-s390x -M s390-ccw-virtio -accel tcg -m 64 -nodefaults -no-user-config ${DISK}`;
const MICROVM = `qemu-system-x86_64 -M microvm,acpi=off,rtc=off,pit=off,pic=on -accel tcg -m 64 -nodefaults -no-user-config ${DISK}`;

export const GROUPS: readonly LineGroup[] = [
  {
    arch: 'x86_64',
    source: `${THREE} ${BLK} ${CARD} ${RNG}`,
    cases: [
      ['as it was', `${THREE} ${BLK} ${CARD} ${RNG}`],
      ['alias of a disk', `${THREE} -device virtio-blk,drive=d0 ${CARD} ${RNG}`],
      ['aliases, and another order', `${THREE} -device virtio-rng -device virtio-blk,drive=d0 ${CARD}`],
      ['alias of a generator', `${THREE} ${BLK} ${CARD} -device virtio-rng`],
      ['JSON behind the others', `${THREE} -device '{"driver":"virtio-rng-pci"}' ${BLK} ${CARD}`],
      ['JSON is made last', `${THREE} -device '{"driver":"virtio-blk-pci","drive":"d0"}' ${CARD} ${RNG}`],
      [
        'a disk of -drive goes before JSON',
        `${PC} ${NET} -device '{"driver":"virtio-net-pci","netdev":"n0","romfile":""}' -device '{"driver":"virtio-rng-pci"}' -drive if=virtio,file.driver=null-co,format=raw`,
      ],
      ['-set of an address', `${THREE} ${BLK} ${CARD} ${RNG},id=r -set device.r.addr=9`],
      ['-set of what it is anyway', `${THREE} ${BLK},id=b,addr=9 ${CARD} ${RNG} -set device.b.addr=2`],
      ['-set of queues', `${THREE} ${BLK},id=b ${CARD} ${RNG} -set device.b.num-queues=3`],
      ['addresses as libvirt has them', `${THREE} ${RNG},addr=0x4 ${CARD},addr=0x3 ${BLK},addr=0x2.0x0`],
      [
        'an address in JSON, as a number',
        `${THREE} -device '{"driver":"virtio-rng-pci","addr":32}' ${BLK} ${CARD}`,
      ],
      [
        '-virtfs takes a slot',
        `${THREE} -virtfs local,path=/tmp,mount_tag=x,security_model=none ${BLK} ${CARD} ${RNG}`,
      ],
      [
        '-virtfs behind the others',
        `${THREE} ${BLK} ${CARD} ${RNG} -virtfs local,path=/tmp,mount_tag=x,security_model=none`,
      ],
      ['-audio takes a slot', `${THREE} -audio driver=none,model=hda ${BLK} ${CARD} ${RNG}`],
      ['-audio of an ISA card takes none', `${THREE} -audio driver=none,model=sb16 ${BLK} ${CARD} ${RNG}`],
      ['more CPUs that may come are CPUs', `${THREE} ${BLK} ${CARD} ${RNG} -smp maxcpus=4`],
      ['CPUs of the machine', `${THREE} ${BLK} ${CARD} ${RNG} -machine smp.cpus=4`],
      ['CPUs, said twice', `${THREE} ${BLK} ${CARD} ${RNG} -smp 1 -smp maxcpus=8`],
      ['global to a parent', `${THREE} ${BLK} ${CARD} ${RNG} -global virtio-blk-pci-base.disable-legacy=on`],
      [
        'global to the device inside',
        `${THREE} ${BLK} ${CARD} ${RNG} -global virtio-blk-device.num-queues=3`,
      ],
      [
        'global to the proxy, over the device inside',
        `${THREE} ${BLK} ${CARD} ${RNG} -global virtio-blk-pci.num-queues=1 -global virtio-blk-device.num-queues=4`,
      ],
      ['global to an alias does nothing', `${THREE} ${BLK} ${CARD} ${RNG} -global virtio-blk.num-queues=3`],
      ['vectors of a generator', `${THREE} ${BLK} ${CARD} ${RNG},vectors=0`],
      ['a legacy generator', `${THREE} ${BLK} ${CARD} ${RNG},disable-modern=on`],
      ['a page for each queue', `${THREE} ${BLK} ${CARD} ${RNG},page-per-vq`],
      ['a class', `${THREE} ${BLK},class=0x0101 ${CARD} ${RNG}`],
      ['the same class', `${THREE} ${BLK},class=0x0100 ${CARD} ${RNG}`],
      ['octal queues', `${THREE} ${BLK},num-queues=01,queue-size=0400 ${CARD} ${RNG}`],
      ['hexadecimal vectors', `${THREE} ${BLK},vectors=0x2 ${CARD} ${RNG},vectors=02`],
      ['as many queues as QEMU wants', `${THREE} ${BLK},num-queues=65535 ${CARD} ${RNG}`],
      ['hexadecimal memory', `${THREE.replace('-m 32', '-m 0x20')} ${BLK} ${CARD} ${RNG}`],
      ['memory of the machine', `${THREE.replace('-m 32', '-M memory.size=32M')} ${BLK} ${CARD} ${RNG}`],
      ['memory that is rounded', `${THREE.replace('-m 32', '-m 32767.9k')} ${BLK} ${CARD} ${RNG}`],
      ['memory in K', `${THREE.replace('-m 32', '-m 32768k')} ${BLK} ${CARD} ${RNG}`],
      ['other memory', `${THREE.replace('-m 32', '-m 0x21')} ${BLK} ${CARD} ${RNG}`],
      [
        'memory of a back end, by its old name',
        `${THREE} -M memory_backend=pc.ram -object memory-backend-ram,id=pc.ram,size=32M ${BLK} ${CARD} ${RNG}`,
      ],
      [
        'memory of a back end that has its path for a name',
        `${THREE} -M memory-backend=pc.ram -object memory-backend-ram,id=pc.ram,size=32M,x-use-canonical-path-for-ramblock-id=on ${BLK} ${CARD} ${RNG}`,
      ],
      [
        'memory of a node',
        `${THREE} -object memory-backend-ram,id=m0,size=32M -numa node,memdev=m0 ${BLK} ${CARD} ${RNG}`,
      ],
      ['a secondary display', `${THREE} ${BLK} ${CARD} ${RNG} -device secondary-vga`],
      ['a card before the others', `${THREE} -device i82801 ${BLK} ${CARD} ${RNG}`],
      [
        'a serial card before the others',
        `${THREE} -chardev null,id=c -device pci-serial,chardev=c ${BLK} ${CARD} ${RNG}`,
      ],
      ['an ISA card before the others', `${THREE} -device ne2k_isa ${BLK} ${CARD} ${RNG}`],
      [
        '-net nic',
        `${PC} ${DISK} ${BLK},addr=2 -net nic,model=virtio,addr=3 -net user -global virtio-net-pci.romfile= ${RNG},addr=4`,
      ],
      [
        '-net nic comes first',
        `${PC} ${DISK} ${BLK} -net nic,model=virtio -net user -global virtio-net-pci.romfile= ${RNG}`,
      ],
      [
        '-nic has no vectors',
        `${PC} ${DISK} ${BLK},addr=3 -nic user,model=virtio -global virtio-net-pci.romfile= ${RNG},addr=4`,
      ],
      ['no HPET', `${THREE} ${BLK} ${CARD} ${RNG} -no-hpet`],
      ['no ACPI', `${THREE} ${BLK} ${CARD} ${RNG} -machine acpi=off`],
      ['a device that cannot be migrated', `${THREE} ${BLK} ${CARD} ${RNG} -device nvme,serial=x`],
      ['a comment behind it', `${THREE} ${BLK} ${CARD} ${RNG} # was -m 64 before`],
      ['quoted as in C', `${THREE} -device $'virtio-blk-pci,drive=d0' ${CARD} ${RNG}`],
      ['variables', `D="${BLK} ${CARD}"\n${THREE} $D \\\n  ${RNG}\n`],
      ['an array', `args=(${BLK}\n  ${CARD} # a card\n)\nargs+=(${RNG})\n${THREE} "\${args[@]}"\n`],
      ['a flag', `${THREE} ${BLK} ${CARD} ${RNG},noevent_idx`],
      ['the last of two', `${THREE} ${BLK},addr=7,addr=2 ${CARD} ${RNG}`],
      ['driver= behind a property', `${THREE} -device drive=d0,driver=virtio-blk-pci ${CARD} ${RNG}`],
    ],
  },
  {
    arch: 'x86_64',
    source: `${PC} ${DISK.replace('format=raw', 'format=raw,readonly=on')} ${BLK}`,
    cases: [
      ['a CD is read-only', `${PC} ${DISK},media=cdrom ${BLK}`],
      ['-set of a drive', `${PC} ${DISK} -set drive.d0.readonly=on ${BLK}`],
      ['a CD of -drive', `${PC} -drive if=virtio,file.driver=null-co,format=raw,media=cdrom`],
    ],
  },
  {
    arch: 'x86_64',
    source: `${Q35} ${DISK} -device pcie-root-port,id=a,chassis=1,slot=1,addr=2.0,multifunction=on -device pcie-root-port,id=b,chassis=2,slot=2,addr=2.1 ${BLK},bus=b ${RNG},bus=a`,
    cases: [
      [
        'functions as libvirt has them',
        `${Q35} ${DISK} -device '{"driver":"pcie-root-port","id":"a","chassis":1,"slot":1,"addr":"0x2","multifunction":true}' -device '{"driver":"pcie-root-port","id":"b","chassis":2,"slot":2,"addr":"0x2.0x1"}' -device '{"driver":"virtio-blk-pci","drive":"d0","bus":"b"}' -device '{"driver":"virtio-rng-pci","bus":"a"}'`,
      ],
      [
        'functions with zeros in front',
        `${Q35} ${DISK} -device pcie-root-port,id=a,chassis=1,slot=1,addr=02,multifunction=on -device pcie-root-port,id=b,chassis=2,slot=2,addr=02.01 ${BLK},bus=b ${RNG},bus=a`,
      ],
      [
        'JSON before its port',
        `${Q35} ${DISK} -device '{"driver":"virtio-blk-pci","drive":"d0","bus":"b"}' -device pcie-root-port,id=a,chassis=1,slot=1,addr=2.0,multifunction=on -device pcie-root-port,id=b,chassis=2,slot=2,addr=2.1 ${RNG},bus=a`,
      ],
      [
        'another slot number',
        `${Q35} ${DISK} -device pcie-root-port,id=a,chassis=1,slot=9,addr=2.0,multifunction=on -device pcie-root-port,id=b,chassis=2,slot=2,addr=2.1 ${BLK},bus=b ${RNG},bus=a`,
      ],
      [
        'a port without hot-plugging',
        `${Q35} ${DISK} -device pcie-root-port,id=a,chassis=1,slot=1,addr=2.0,multifunction=on,hotplug=off -device pcie-root-port,id=b,chassis=2,slot=2,addr=2.1 ${BLK},bus=b ${RNG},bus=a`,
      ],
      [
        'another port',
        `${Q35} ${DISK} -device ioh3420,id=a,chassis=1,slot=1,addr=2.0,multifunction=on -device pcie-root-port,id=b,chassis=2,slot=2,addr=2.1 ${BLK},bus=b ${RNG},bus=a`,
      ],
      [
        '-set of a bus',
        `${Q35} ${DISK} -device pcie-root-port,id=a,chassis=1,slot=1,addr=2.0,multifunction=on -device pcie-root-port,id=b,chassis=2,slot=2,addr=2.1 ${BLK},bus=a ${RNG},bus=b,id=r -set device.r.bus=a`,
      ],
    ],
  },
  {
    arch: 'x86_64',
    source: `${PC} ${DISK} -device pci-bridge,id=br0,chassis_nr=1 ${BLK},bus=br0,addr=1 ${RNG},bus=br0,addr=2`,
    cases: [
      [
        'a bridge without an id',
        `${PC} ${DISK} -device pci-bridge,chassis_nr=1 ${BLK},bus=pci.1,addr=1 ${RNG},bus=pci.1,addr=2`,
      ],
      [
        'a path to the bus',
        `${PC} ${DISK} -device pci-bridge,id=br0,chassis_nr=1 ${BLK},bus=/i440FX-pcihost/pci.0/br0,addr=1 ${RNG},bus=br0,addr=2`,
      ],
      [
        'an expander in its place',
        `${PC} ${DISK} -device pxb,bus_nr=5,id=px ${BLK},bus=px,addr=1 ${RNG},bus=px,addr=2`,
      ],
      [
        'the bus of the machine',
        `${PC} ${DISK} -device pci-bridge,id=br0,chassis_nr=1 ${BLK},bus=pci.0,addr=9 ${RNG},bus=br0,addr=2`,
      ],
    ],
  },
  {
    arch: 'x86_64',
    source: `${Q35} ${DISK} -device pxb-pcie,bus_nr=0x50,id=px -device pcie-root-port,bus=px,id=r1,chassis=1,slot=1 ${BLK},bus=r1 ${RNG},bus=pcie.0,addr=7`,
    cases: [
      [
        'a bus number, decimal',
        `${Q35} ${DISK} -device pxb-pcie,bus_nr=80,id=px,addr=1 -device pcie-root-port,bus=px,id=r1,chassis=1,slot=1 ${BLK},bus=r1 ${RNG},bus=pcie.0,addr=7`,
      ],
      [
        'another bus number',
        `${Q35} ${DISK} -device pxb-pcie,bus_nr=50,id=px -device pcie-root-port,bus=px,id=r1,chassis=1,slot=1 ${BLK},bus=r1 ${RNG},bus=pcie.0,addr=7`,
      ],
    ],
  },
  {
    arch: 'x86_64',
    source: `${PC} -chardev null,id=c0 -chardev null,id=c1 -device virtio-serial-pci,id=vs0 -device virtconsole,chardev=c0 -device virtserialport,chardev=c1 ${RNG}`,
    cases: [
      [
        'a newer console takes the ports',
        `${PC} -chardev null,id=c0 -chardev null,id=c1 -device virtio-serial-pci,id=vs0 -device virtio-serial-pci,addr=9 -device virtconsole,chardev=c0 -device virtserialport,chardev=c1 ${RNG},addr=3`,
      ],
      [
        'the newer console is the one',
        `${PC} -chardev null,id=c0 -chardev null,id=c1 -device virtio-serial-pci,addr=9 -device virtio-serial-pci,addr=2 -device virtconsole,chardev=c0 -device virtserialport,chardev=c1 ${RNG},addr=3`,
      ],
      [
        'alias of a console',
        `${PC} -chardev null,id=c0 -chardev null,id=c1 -device virtio-serial,id=vs0 -device virtconsole,chardev=c0,bus=vs0.0 -device virtserialport,chardev=c1 ${RNG}`,
      ],
      [
        '-set of a port',
        `${PC} -chardev null,id=c0 -chardev null,id=c1 -device virtio-serial-pci -device virtconsole,chardev=c0 -device virtserialport,chardev=c1,id=p -set device.p.nr=5 ${RNG}`,
      ],
    ],
  },
  {
    arch: 'x86_64',
    source: `${PC} -device virtio-gpu-pci,max_outputs=2 -device virtio-keyboard-pci -device virtio-balloon-pci`,
    cases: [
      [
        'a mouse',
        `${PC} -device virtio-gpu-pci,max_outputs=2 -device virtio-mouse-pci -device virtio-balloon-pci`,
      ],
      [
        'alias of a keyboard',
        `${PC} -device virtio-gpu-pci,max_outputs=0x2 -device virtio-keyboard -device virtio-balloon`,
      ],
      [
        'with VGA',
        `${PC} -device virtio-vga,max_outputs=2 -device virtio-keyboard-pci -device virtio-balloon-pci`,
      ],
      [
        'vectors of a keyboard',
        `${PC} -device virtio-gpu-pci,max_outputs=2 -device virtio-keyboard-pci,vectors=0 -device virtio-balloon-pci`,
      ],
      [
        'a modern balloon',
        `${PC} -device virtio-gpu-pci,max_outputs=2 -device virtio-keyboard-pci -device virtio-balloon-pci-non-transitional`,
      ],
    ],
  },
  {
    arch: 'x86_64',
    source:
      'qemu-system-x86_64 -M pc -accel tcg -m 32 -no-user-config -global e1000.romfile= -device virtio-rng-pci',
    cases: [
      [
        'the card by -net',
        'qemu-system-x86_64 -M pc -accel tcg -m 32 -no-user-config -global e1000.romfile= -net nic -net user -device virtio-rng',
      ],
      [
        'no card',
        'qemu-system-x86_64 -M pc -accel tcg -m 32 -no-user-config -net none -device virtio-rng-pci,addr=4',
      ],
      [
        'no serial port',
        'qemu-system-x86_64 -M pc -accel tcg -m 32 -no-user-config -global e1000.romfile= -serial none -device virtio-rng-pci',
      ],
      [
        'another network',
        'qemu-system-x86_64 -M pc -accel tcg -m 32 -no-user-config -global e1000.romfile= -netdev hubport,hubid=0,id=n -device e1000,netdev=n -device virtio-rng-pci',
      ],
    ],
  },
  {
    arch: 'x86_64',
    source: `${MICROVM} -device virtio-blk-device,drive=d0 -device virtio-rng-device`,
    cases: [
      [
        'JSON is made last',
        `${MICROVM} -device '{"driver":"virtio-rng-device"}' -device virtio-blk-device,drive=d0`,
      ],
      [
        'a bus',
        `${MICROVM} -device virtio-rng-device,bus=virtio-mmio-bus.6 -device virtio-blk-device,drive=d0`,
      ],
      [
        '-set of a bus',
        `${MICROVM} -device virtio-blk-device,drive=d0 -device virtio-rng-device,id=r -set device.r.bus=virtio-mmio-bus.1`,
      ],
    ],
  },
  {
    arch: 's390x',
    source: `${CCW} -device virtio-blk-ccw,drive=d0 -device virtio-rng-ccw -device virtio-balloon-ccw`,
    cases: [
      [
        'a number is looked for from the subchannel on',
        `${CCW} -device virtio-balloon-ccw,devno=fe.0.0002 -device virtio-blk-ccw,drive=d0 -device virtio-rng-ccw`,
      ],
      [
        'numbers for all',
        `${CCW} -device virtio-balloon-ccw,devno=FE.0.0002 -device virtio-blk-ccw,drive=d0,devno=fe.0.0000 -device virtio-rng-ccw,devno=fe.0.0001`,
      ],
      ['aliases', `${CCW} -device virtio-blk,drive=d0 -device virtio-rng -device virtio-balloon`],
      [
        '-drive without if=',
        `${CCW.replace(DISK, '')} -drive file.driver=null-co,format=raw -device virtio-rng-ccw,devno=fe.0.0001 -device virtio-balloon-ccw,devno=fe.0.0002`,
      ],
      [
        '-set of a number',
        `${CCW} -device virtio-blk-ccw,drive=d0 -device virtio-rng-ccw,id=r -device virtio-balloon-ccw -set device.r.devno=fe.0.0007`,
      ],
    ],
  },
  {
    arch: 's390x',
    source: 'qemu-system-s390x -accel tcg -m 64 -drive file.driver=null-co,format=raw -device virtio-rng-ccw',
    cases: [
      [
        'as it was',
        'qemu-system-s390x -accel tcg -m 64 -drive file.driver=null-co,format=raw -device virtio-rng-ccw',
      ],
      [
        '-net nic',
        'qemu-system-s390x -accel tcg -m 64 -net nic -net user -drive file.driver=null-co,format=raw,if=virtio -device virtio-rng',
      ],
      [
        'a CD',
        'qemu-system-s390x -accel tcg -m 64 -drive file.driver=null-co,format=raw,media=cdrom -device virtio-rng-ccw',
      ],
    ],
  },
  {
    arch: 'aarch64',
    source: `qemu-system-aarch64 -M virt -accel tcg -cpu cortex-a57 -m 64 -nodefaults ${DISK} ${BLK} ${RNG} -device virtio-rng-device`,
    cases: [
      [
        'alias',
        `qemu-system-aarch64 -M virt -accel tcg -cpu cortex-a57 -m 64 -nodefaults ${DISK} -device virtio-blk,drive=d0 ${RNG} -device virtio-rng-device`,
      ],
      [
        '-drive without if=',
        `qemu-system-aarch64 -M virt -accel tcg -cpu cortex-a57 -m 64 -nodefaults -drive file.driver=null-co,format=raw ${RNG},addr=2 -device virtio-rng-device`,
      ],
      [
        'JSON is made last',
        `qemu-system-aarch64 -M virt -accel tcg -cpu cortex-a57 -m 64 -nodefaults ${DISK} -device '{"driver":"virtio-rng-pci"}' ${BLK} -device virtio-rng-device`,
      ],
    ],
  },
];
