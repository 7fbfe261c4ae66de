import type { FeatureRow } from './control.ts';

// Who decides over the features of devices that are neither disks nor cards. What came with a machine version was read from
// QEMU 7.2's machine types, properties from 5.2, 7.2, 10.0 and 11.1.

/** Of features that nobody switches. */
export const ALWAYS_OFFERED = 'nothing: always offered';
type Rows = Readonly<Record<number, FeatureRow>>;

const CONSOLE = 'Virtio 1.3 §5.3.3';
export const consoleRows: Rows = {
  1: { property: 'max_ports', needs: 'more than 1', spec: CONSOLE },
  2: { property: 'emergency-write', machine: '2.8', spec: CONSOLE },
};

const BALLOON = 'Virtio 1.3 §5.5.3';
export const balloonRows: Rows = {
  1: { needs: ALWAYS_OFFERED, spec: BALLOON },
  2: { property: 'deflate-on-oom', offByDefault: true, spec: BALLOON },
  3: { property: 'free-page-hint', offByDefault: true, needs: 'an iothread', spec: BALLOON },
  4: { property: 'page-poison', machine: '5.1', qemu: '5.1', spec: BALLOON },
  5: { property: 'free-page-reporting', offByDefault: true, qemu: '5.1', spec: BALLOON },
};

const SCSI = 'Virtio 1.3 §5.6.3';
export const scsiRows: Rows = {
  1: { property: 'hotplug', spec: SCSI },
  2: { property: 'param_change', spec: SCSI },
  3: { property: 't10_pi (of vhost-scsi)', spec: SCSI },
};

const GPU = 'Virtio 1.3 §5.7.3';
export const gpuRows: Rows = {
  0: { needs: 'the device virtio-gpu-gl', spec: GPU },
  1: { property: 'edid', machine: '4.1', spec: GPU },
  3: { property: 'blob', offByDefault: true, qemu: '6.1', spec: GPU },
  4: { needs: 'the device virtio-gpu-rutabaga or virtio-gpu-gl', spec: GPU },
};

const MEM = 'Virtio 1.3 §5.15.3';
export const memRows: Rows = {
  0: { needs: 'a machine with NUMA nodes in ACPI', spec: MEM },
  1: { property: 'unplugged-inaccessible', machine: '7.0', qemu: '7.0', spec: MEM },
  2: { qemu: '9.2', needs: ALWAYS_OFFERED, spec: MEM },
};

const IOMMU = 'Virtio 1.3 §5.13.3';
export const iommuRows: Rows = {
  0: { needs: ALWAYS_OFFERED, spec: IOMMU },
  1: { needs: ALWAYS_OFFERED, spec: IOMMU },
  2: { needs: ALWAYS_OFFERED, spec: IOMMU },
  4: { needs: ALWAYS_OFFERED, spec: IOMMU },
  5: { needs: ALWAYS_OFFERED, spec: IOMMU },
  6: { qemu: '7.0', needs: ALWAYS_OFFERED, spec: IOMMU },
};

export const vsockRows: Rows = {
  1: { property: 'seqpacket', needs: 'a host kernel that has it', spec: 'Virtio 1.3 §5.10.3' },
};

export const ninepRows: Rows = { 0: { needs: ALWAYS_OFFERED, spec: 'QEMU virtio-9p' } };
