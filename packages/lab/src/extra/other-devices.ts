import type { QemuOptions } from '../qemu.ts';
import { DISK } from './parts.ts';

export const OTHER_FILES: QemuOptions['files'] = {
  ...DISK,
  'scsi.img': 16 << 20,
  'pmem.img': 4 << 20,
  'vmem.img': 128 << 20,
};

export const otherDevices = (
  kind: 'pci' | 'ccw',
  name: (device: string) => string = (device) => device,
): string[] => [
  '-object',
  'rng-random,id=rng,filename=/dev/urandom',
  '-device',
  name(`virtio-rng-${kind},id=rng0,rng=rng`),
  '-device',
  name(`virtio-balloon-${kind},id=balloon0,deflate-on-oom=on,free-page-reporting=on`),
  '-chardev',
  'null,id=vc0',
  '-chardev',
  'null,id=vc1',
  '-device',
  name(`virtio-serial-${kind},id=serial0,max_ports=4`),
  '-device',
  'virtconsole,bus=serial0.0,nr=0,chardev=vc0,id=console0',
  '-device',
  'virtserialport,bus=serial0.0,nr=2,chardev=vc1,name=org.example.port,id=port0',
  '-blockdev',
  'driver=file,filename=scsi.img,node-name=s0',
  '-device',
  name(`virtio-scsi-${kind},id=scsi0,num_queues=2`),
  '-device',
  'scsi-hd,bus=scsi0.0,drive=s0,id=scsidisk0',
  '-device',
  name(`virtio-keyboard-${kind},id=kbd0`),
  '-device',
  name(`virtio-mouse-${kind},id=mouse0`),
  '-device',
  name(`virtio-tablet-${kind},id=tablet0`),
  '-device',
  name(`virtio-gpu-${kind},id=gpu0,xres=64,yres=48`),
];

export const NINEP = (kind: string): string[] => [
  '-fsdev',
  'local,id=fs0,path=.,security_model=none',
  '-device',
  `virtio-9p-${kind},id=ninep0,fsdev=fs0,mount_tag=lab`,
];

export const MEMORY_DEVICES = [
  '-object',
  'memory-backend-file,id=vmem,size=128M,mem-path=vmem.img,share=on',
  '-device',
  'virtio-mem-pci,id=vmem0,memdev=vmem,requested-size=32M',
];

export const PMEM = [
  '-object',
  'memory-backend-file,id=pmem,size=4M,mem-path=pmem.img,share=on',
  '-device',
  'virtio-pmem-pci,id=pmem0,memdev=pmem',
];

export const HOTPLUG_ROOM = ['-m', '256M,maxmem=1G,slots=2'];
