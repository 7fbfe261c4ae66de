/**
 * vhost-user: a virtio device in this process, in a machine of another one (QEMU, Cloud Hypervisor, DPDK, libblkio).
 *
 * You bring:  a device type (`@virtkit/device-*`, or your own), and the path of a socket.
 * You get:    {@link serveVhostUser}: a server that takes one front end after the other, and the live device.
 * Not here:   the words that plug it into a QEMU (`virtkit serve` of `@virtkit/cli` prints them); vfio-user
 *             (`@virtkit/vfio-user`).
 * @packageDocumentation
 */
export { SystemCallError } from '@virtkit/linux';
export { FrontEndError } from './errors.ts';
export { type VhostUserParts, vhostUser } from './layer.ts';
export { type FrontEndInfo, type ServeOptions, serveVhostUser, VhostUserServer } from './server.ts';
