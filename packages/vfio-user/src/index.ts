/**
 * vfio-user: a virtio device in this process, as a PCI function in a machine of another one (QEMU 10.1 and newer).
 *
 * You bring:  a device type (`@virtkit/device-*`, or your own), and the path of a socket.
 * You get:    {@link serveVfioUser}: a server that takes one client after the other, and the live device.
 * Not here:   the words that plug it into a QEMU (`virtkit serve --vfio-user` of `@virtkit/cli` prints them); vhost-user
 *             (`@virtkit/vhost-user`).
 * @packageDocumentation
 */
export { SystemCallError } from '@virtkit/linux';
export type { VfioUserDeviceOptions } from './device.ts';
export { type ClientInfo, type ServeOptions, serveVfioUser, VfioUserServer } from './server.ts';
