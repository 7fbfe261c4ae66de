/** Most ports of a device. QEMU's `VIRTIO_QUEUE_MAX` of 1024 queues, two for each port and two for control. */
export const PORTS_MAX = 511;
