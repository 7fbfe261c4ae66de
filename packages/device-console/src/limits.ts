/**
 * Largest number of ports of a device: of QEMU's 1024 queues (`VIRTIO_QUEUE_MAX`), two are for each port and two for
 * control.
 */
export const PORTS_MAX = 511;
