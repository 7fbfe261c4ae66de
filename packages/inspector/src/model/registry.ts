import { deviceTypes } from '@virtkit/compat/types';
import { registryOf } from '@virtkit/core/qemu';
import { ccw, s390Css } from '@virtkit/transport-ccw';
import { mmio } from '@virtkit/transport-mmio';
import { pci } from '@virtkit/transport-pci';

/** Registry of the layers that streams are decoded with. */
export const registry = registryOf([pci, ccw, mmio], deviceTypes, { s390_css: s390Css });
