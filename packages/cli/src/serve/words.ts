// What other programs have to be told to find the device.

/** Words that plug a device into a machine, by program. */
export interface Words {
  /** Options of QEMU's command line, one a line. */
  readonly qemu: readonly string[];
  /** Pieces of a domain's XML; none: libvirt has no element for such a device. */
  readonly libvirt: readonly string[];
  /** Options of Cloud Hypervisor; empty: it has none for such a device. */
  readonly cloudHypervisor: readonly string[];
}

/** Facts known of the device that is served. */
export interface Shape {
  /** Virtio device id. */
  readonly id: number;
  readonly queues: number;
  /** Number of entries of the first queue. */
  readonly queueSize: number;
  readonly configBytes: number;
  readonly mac?: string;
}

const MEMORY = '-object memory-backend-memfd,id=mem,size=1G,share=on -m 1G -machine q35,memory-backend=mem';
const SHARED = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>";

/**
 * Makes the words for a device behind vhost-user.
 * @param socket absolute path
 * @param client the device connects, and QEMU listens
 */
export function wordsFor(socket: string, client: boolean, shape: Shape): Words {
  // QEMU's other front ends do not wait for a connection that is made later: with reconnect, they or all of QEMU end
  const again = shape.id === 1 || shape.id === 2 ? ',reconnect=1' : '';
  const chardev = `-chardev socket,id=c0,path=${socket.replaceAll(',', ',,')}${client ? ',server=on' : again}`;
  return {
    qemu: [MEMORY, chardev, ...qemuDevice(shape)],
    libvirt: libvirtDevice(xml(socket), client, shape),
    cloudHypervisor: client ? [] : cloudHypervisor(socket, shape),
  };
}

/**
 * Makes the words for a device behind vfio-user, whatever its type: QEMU asks the function itself. libvirt has no
 * element for it, and hands QEMU's words on.
 *
 * @param socket absolute path
 */
export function vfioUserWords(socket: string): Words {
  const device = JSON.stringify({ driver: 'vfio-user-pci', socket: { type: 'unix', path: socket } });
  return {
    qemu: [MEMORY, `-device '${device.replaceAll("'", "'\\''")}'`],
    libvirt: [
      "<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>",
      SHARED,
      `<qemu:commandline><qemu:arg value='-device'/><qemu:arg value='${xml(device)}'/></qemu:commandline>`,
    ],
    cloudHypervisor: [],
  };
}

function qemuDevice({ id, queues, queueSize, configBytes, mac }: Shape): string[] {
  switch (id) {
    case 1: {
      const pairs = Math.floor(queues / 2);
      const many = pairs > 1;
      return [
        `-netdev vhost-user,id=n0,chardev=c0${many ? `,queues=${pairs}` : ''}`,
        `-device virtio-net-pci,netdev=n0${many ? ',mq=on' : ''}${mac === undefined ? '' : `,mac=${mac}`}`,
      ];
    }
    case 2:
      return [`-device vhost-user-blk-pci,chardev=c0${queues > 1 ? `,num-queues=${queues}` : ''}`];
    case 4:
      return ['-device vhost-user-rng-pci,chardev=c0'];
    default:
      return [
        `-device vhost-user-test-device-pci,chardev=c0,virtio-id=${id},num_vqs=${queues},vq_size=${queueSize},config_size=${configBytes}`,
      ];
  }
}

function libvirtDevice(path: string, client: boolean, { id, mac }: Shape): string[] {
  const reconnect = client ? '' : "<reconnect enabled='yes' timeout='1'/>";
  const mode = client ? 'server' : 'client';
  if (id === 1)
    return [
      SHARED,
      `<interface type='vhostuser'>${mac === undefined ? '' : `<mac address='${xml(mac)}'/>`}<source type='unix' path='${path}' mode='${mode}'>${reconnect}</source><model type='virtio'/></interface>`,
    ];
  if (id !== 2 || client) return [];
  return [
    SHARED,
    `<disk type='vhostuser' device='disk'><driver name='qemu' type='raw'/><source type='unix' path='${path}'>${reconnect}</source><target dev='vda' bus='virtio'/></disk>`,
  ];
}

function cloudHypervisor(socket: string, { id, queues, mac }: Shape): string[] {
  if (id === 1)
    return [
      '--memory size=1G,shared=on',
      `--net vhost_user=true,socket=${socket},num_queues=${queues}${mac === undefined ? '' : `,mac=${mac}`}`,
    ];
  if (id !== 2) return [];
  return ['--memory size=1G,shared=on', `--disk vhost_user=true,socket=${socket},num_queues=${queues}`];
}

function xml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll("'", '&apos;');
}

/** Writes the words for people. */
export function wordsText({ qemu, libvirt, cloudHypervisor: cloud }: Words): string[] {
  const reconnects = qemu.some((line) => line.includes('reconnect=1'));
  return [
    `QEMU${reconnects ? ' (from 9.2 on reconnect-ms=1000 instead of reconnect=1)' : ''}:`,
    ...qemu.map((line) => `  ${line}`),
    ...(libvirt.length === 0 ? [] : ['libvirt:', ...libvirt.map((line) => `  ${line}`)]),
    ...(cloud.length === 0 ? [] : ['Cloud Hypervisor:', ...cloud.map((line) => `  ${line}`)]),
  ];
}
