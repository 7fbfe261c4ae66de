import { blk } from '@virtkit/device-blk';
import { net } from '@virtkit/device-net';
import { memEarlyState, otherDevices } from '@virtkit/device-states';
import type { Registry } from '@virtkit/migration';
import { ccw, s390Css } from '@virtkit/transport-ccw';
import { mmio } from '@virtkit/transport-mmio';
import { pci } from '@virtkit/transport-pci';

/** What the command knows. A new transport or device type needs one line here. */
export const registry: Registry = {
  transports: [pci, ccw, mmio],
  devices: [net, blk, ...otherDevices],
  sections: { s390_css: s390Css, 'virtio-mem-device-early': memEarlyState },
};
