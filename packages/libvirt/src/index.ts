/**
 * Machines as libvirt, KubeVirt and Proxmox describe them.
 *
 * You bring:  a domain's XML, a VirtualMachineInstance, or a Proxmox configuration.
 * You get:    the QEMU command line that makes the same devices, and what the description does not say.
 * Not here:   what a QEMU makes of a command line, and whether it loads a stream (`@virtkit/compat`).
 * @packageDocumentation
 */
export { describeDomain, type MachineDescription } from './domain.ts';
export type { MachineOutline } from './outline.ts';
export type { DeviceWords } from './qemu-words.ts';
export { describeQm, isShownCommand } from './qm.ts';
export { describeVmi } from './vmi.ts';
