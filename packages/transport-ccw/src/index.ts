/**
 * Virtio over channel I/O (s390x): a device on a subchannel, a channel subsystem for emulators that have none, and their
 * part of the saved state.
 *
 * You bring:  a device type (`@virtkit/device-*`), guest memory, and a CPU that decodes the I/O instructions.
 * You get:    `CcwDevice`: subchannel, channel programs, virtio commands of revisions 0 to 2, classic and adapter
 *             interrupts. `ChannelSubsystem`: the I/O instructions by condition code, pending interrupts, diagnose 0x500.
 *             The layer `ccw` for `virtioDevice` of `@virtkit/core`; the sections `s390_css` and `qemu-s390-flic`.
 * Not here:   CHSC, channel measurements, control units that are not virtio's.
 * @packageDocumentation
 */
export { CcwDevice } from './ccw-device.ts';
export { type CssState, type FlicState, s390Css, s390Flic } from './companions.ts';
export { ccw } from './layer.ts';
export * from './live.ts';
export { ccwConfigState, ccwQueueState, orb, pmcw, schib, scsw, senseId, subchannel } from './subchannel.ts';
