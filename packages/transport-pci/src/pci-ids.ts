/** PCI vendor id of virtio devices. Virtio 1.3 §4.1.2.1 */
export const VIRTIO_VENDOR = 0x1af4;
/** Lowest PCI device id of virtio devices, a transitional one; below it, the highest of all. Virtio 1.3 §4.1.2 */
export const DEVICE_ID_MIN = 0x1000;
export const DEVICE_ID_MAX = 0x107f;
/** PCI device id of a device that is not transitional: this, plus the number of the device type. Virtio 1.3 §4.1.2.1 */
export const DEVICE_ID_MODERN = 0x1040;
