/**
 * Virtio over channel I/O (s390x): its part of a virtio device's saved state, and the sections that stand beside it.
 *
 * You bring:  a device type (`@virtkit/device-*`) and `virtioDevice` of `@virtkit/core`.
 * You get:    subchannel, indicators, adapter route, revision, vectors; the sections `s390_css` and `qemu-s390-flic`.
 * Not here:   channel programs that a running guest can start. They come with the live devices.
 * @packageDocumentation
 */
export { type FlicState, s390Css, s390Flic } from './companions.ts';
export { type CcwParts, ccw } from './layer.ts';
export {
  type CcwConfigState,
  type CcwQueueState,
  ccwConfigState,
  ccwQueueState,
  orb,
  pmcw,
  schib,
  scsw,
  senseId,
  subchannel,
} from './subchannel.ts';
