import type { Family } from '../family.ts';

/**
 * Messages about back ends outside of QEMU: vhost in the kernel, vhost-user, vDPA, tap; and of virtio devices when they
 * start.
 */
export const vhostFamilies: readonly Family[] = [
  {
    code: 'vhost-features',
    pattern:
      /vhost lacks feature mask (?<mask>0x[0-9a-f]+)|vhost(?:-user)? backend (?:lacks|does not support|is missing|missing)|feature bits? .{0,40}not supported by vhost|vhost (?:back ?end|device).{0,40}(?:lacks|capable)|[Mm]igration disabled: (?:vhost lacks VHOST_F_LOG_ALL|failed to allocate)|VHOST_F_LOG_ALL|protocol features?|extended features without device support/,
    meaning:
      'The vhost back end of this host cannot do what the device was started with ({mask}), or cannot log what it writes, without which nothing can be moved.',
    advice: [
      'Use the same kernel, DPDK, OVS or SPDK on both hosts, with the same features switched on; a vhost-user back end needs VHOST_F_LOG_ALL and its protocol feature.',
    ],
  },
  {
    code: 'vhost',
    pattern:
      /vhost[-_ ](?:user|vdpa|net|scsi|vsock|user-\w+).{0,80}(?:fail|error|unable|cannot|lost|disconnect|close)|[Ff]ailed to (?:read|write|set|get|send|receive|init\w*|start|connect)[^:]{0,40}(?:vhost|msg|backend|region|vring|mem(?:ory)? table|owner|protocol)|vhost_\w+ failed|vhost VQ \d+|vring (?:restore|base)|[Ee]rror (?:loading|saving|getting vhost) back-end state|vhost backend|backend (?:specified|state|init)|(?:get|set|check|getting|setting) inflight|inflight buffer/,
    meaning:
      'The back end of a device (vhost, vhost-user, vDPA) failed, ended, or does not fit the state of the VM.',
    advice: [
      'See that the back end runs on this host with the same socket, queues and features as on the source (journalctl of ovs-vswitchd, the SPDK target, virtiofsd), then migrate again.',
    ],
  },
  {
    code: 'vhost',
    broad: true,
    pattern:
      /[Vv]host|vdpa|virtqueue|vring|svq|SVQ|notifier|msg (?:type|size)|[Rr]eceived (?:unexpected|bad) m|Truncated message|CHECK_DEVICE_STATE|[Bb]ack-end|state transfer|(?:send|receive|read) state|[Ss]hared memory mapping|Shared Memory|iotlb|IOTLB|chardev|vq\[\d+\]|session id|busyloop|eventfd|Region caches|Overlapping but not coherent|ring \d+|iova|used_iova|queue|Primary device|primary_device|[Ff]allback|slave|region for fault|Bad offset\/len|a mapping \(|vq device region|[Cc]annot (?:map region|set device address|suspend)|device features|IOVA tree|target AS|map ram|rounded to|translated address|ring failure|inject irq|memory boundaries|status to \d|[Cc]onfig space|Reconnecting|permission to perform|Feature bits not defined|interrupt type|indicator/,
    meaning: 'A back end of a device outside of QEMU (vhost, vhost-user, vDPA), or a queue to it, failed.',
    advice: [
      'See that the back end runs on this host with the same socket, queues and features as on the source, then migrate again.',
    ],
  },
  {
    code: 'backend-queues',
    pattern:
      /multiqueue|queue ?pairs?|queues? (?:of backend|exceeds)|Invalid number of queue|invalid queue-size|num-queues|[rt]x_queue_size|virtqueue_size|number of (?:virtqueues|queues)/,
    broad: true,
    meaning: 'The number or size of queues is not possible, or the back end has fewer.',
    advice: [
      'Use the same queues and queue sizes on both sides; a tap must be multi_queue and have as many.',
    ],
  },
  {
    code: 'tap',
    pattern:
      /TUNSETOFFLOAD|TUNSETIFF|TUNGET\w+|TUNSET\w+|vnet_hdr|VNET_HDR|vhost-net requested|tap:? .{0,60}(?:fail|not support)|ioctl\(TUN|eBPF|ebpf|bridge helper|network script|could not (?:configure|open) \S+|get ifname|indirections table|primary device|Zero hardware mac|MTU not supported|couldn't unplug primary device|[Ff]ailover (?:will not work|primary device)|failover_pair_id/,
    meaning:
      'The network back end of this host (tap, its kernel, eBPF, or a failover pair) does not offer what the card needs.',
    advice: [
      'Compare kernels and tap settings of both hosts (multi_queue, vnet_hdr, MTU); offloads that only one kernel knows are switched off on the card (host_ufo, guest_uso4, … =off) before the guest starts.',
    ],
  },
  {
    code: 'notifiers',
    pattern:
      /failed to set (?:guest|host) notifiers?|ioeventfd|eventfd|guest notifier|host notifier|irqfd|irq routes|MSI|msi|kick fd|call fd/,
    broad: true,
    meaning: 'QEMU could not connect a queue to KVM (too many open files, or no KVM).',
    advice: [
      'Raise the limit of open files of QEMU (libvirt: max_files in qemu.conf; LimitNOFILE), and use accel=kvm.',
    ],
  },
  {
    code: 'guest-error',
    broad: true,
    pattern:
      /virtio[\w-]* (?:request|ctrl|missing|header|controlq|dataq|bad|protocol)|virtio: |buffer too small|too small!|header(?:s)? (?:too short|incorrect|missing)|invalid (?:request|address for buffers|ndescs)|wrong size for|bogus vq|tried to modify|UNUSED\(30\)|cannot fill buffer|indirect_desc|Cannot map indirect|wrong value for queue_enable|unexpected address 0x|error buffer|sid=|no mapping for|permission error on|write to unknown|bad data written|Driver provided|Short indirection|Invalid indirection/,
    meaning:
      "The guest's driver sent something that the device does not accept; the device waits for a reset.",
    advice: [
      'After a migration: ring and device state do not belong together, see the lines before. Without one: a defect of the guest driver.',
    ],
  },
  {
    code: 'virtio-config',
    broad: true,
    pattern:
      /virtio|disable-(?:modern|legacy)|modern|legacy|iommu|IOMMU|memslot|balloon|'(?:max-bytes|period|rng)'|requested-size|property|Property|must be|PCI|pci|ROM|romfile|SR-IOV|slot|vectors|hotplug|Hot-(?:un)?plug|failover|acpi-index/,
    meaning: 'A device cannot be made, plugged or loaded as it is described.',
    advice: [
      'Compare that device with the source: its properties, its slot, its back end; the line names which.',
    ],
  },
];
