import type { QemuOptions } from '../qemu.ts';

/** The file of the disk that most cases have. */
export const DISK: QemuOptions['files'] = { 'disk.img': 64 << 20 };
/** Command lines of a disk's and a card's back ends, and of both devices on each transport. */
export const BLK = ['-blockdev', 'driver=file,filename=disk.img,node-name=d0'];
export const NET = ['-netdev', 'user,id=n0,restrict=on'];
export const MAC = 'mac=52:54:00:12:34:56';
export const PCI_PAIR = [
  ...BLK,
  '-device',
  'virtio-blk-pci,drive=d0,id=blk0',
  ...NET,
  '-device',
  `virtio-net-pci,netdev=n0,id=net0,${MAC},romfile=`,
];
export const CCW_PAIR = [
  ...BLK,
  '-device',
  'virtio-blk-ccw,drive=d0,id=blk0',
  ...NET,
  '-device',
  `virtio-net-ccw,netdev=n0,id=net0,${MAC}`,
];
/** On machines with virtio-mmio slots. */
export const MMIO_PAIR = [
  ...BLK,
  '-device',
  'virtio-blk-device,drive=d0,id=blk0',
  ...NET,
  '-device',
  `virtio-net-device,netdev=n0,id=net0,${MAC}`,
];
/** A small firmware, so that the ROM blocks stay small. */
export const QBOOT = ['-bios', 'qboot.rom'];
/** Versions of QEMU that a case is made with. */
export const ALL = ['7.2', '10.0', '11.1'];
export const NEW = ['11.1'];
/** 5.2 has no `x-query-virtio`: what the guest says is the truth. */
export const ENDS = ['5.2', '11.1'];
