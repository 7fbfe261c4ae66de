import { ALWAYS_OFFERED, type FeatureTable } from '@virtkit/core/qemu';

const SPEC = 'Virtio 1.3 §5.2.3';

/**
 * Table of who decides over the features of a block device. Read from `-device virtio-blk-pci,help` of QEMU 5.2 to
 * 11.1.
 */
export const blkFeatureTable: FeatureTable = {
  2: { needs: ALWAYS_OFFERED, spec: SPEC },
  4: { needs: ALWAYS_OFFERED, spec: SPEC },
  5: { property: 'read-only (of the drive)', spec: SPEC },
  6: { needs: ALWAYS_OFFERED, spec: SPEC },
  7: { needs: 'a device that does not offer VERSION_1', spec: 'Virtio 1.3 §5.2.3.1 (legacy)' },
  9: { property: 'write-cache, config-wce', spec: SPEC },
  10: { needs: ALWAYS_OFFERED, spec: SPEC },
  11: { property: 'config-wce', spec: SPEC },
  12: {
    property: 'num-queues',
    machine: '5.2',
    needs: 'more than 1; PCI devices get one a vCPU from this machine version on',
    spec: SPEC,
  },
  13: { property: 'discard', machine: '4.0', qemu: '4.0', spec: SPEC },
  14: { property: 'write-zeroes', machine: '4.0', qemu: '4.0', spec: SPEC },
  17: { qemu: '8.1', needs: 'a zoned drive', spec: SPEC },
};
