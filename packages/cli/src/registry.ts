import { deviceTypes } from '@virtkit/compat/types';
import { registryOf } from '@virtkit/core/qemu';
import { ccw, s390Css } from '@virtkit/transport-ccw';
import { mmio } from '@virtkit/transport-mmio';
import { pci } from '@virtkit/transport-pci';

/**
 * Registry of what the command knows. A new transport needs a line here; device types come from their list in
 * `@virtkit/compat`.
 */
export const registry = registryOf([pci, ccw, mmio], deviceTypes, { s390_css: s390Css });
