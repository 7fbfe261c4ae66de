import { type Extra, guest } from './case.ts';
import { ENDS, NEW } from './parts.ts';

/** Linux guests that were stopped while they read, write, send and receive. */
export const load: readonly Extra[] = [
  guest('q35-io', 'x86_64', ENDS, 'mid-I/O, q35', { machine: 'q35' }),
  guest('pc-io', 'x86_64', ENDS, 'mid-I/O, i440fx', { machine: 'pc' }),
  guest('pc-forcelegacy-io', 'x86_64', ENDS, 'guest virtio_pci force_legacy=1', {
    machine: 'pc',
    guest: { moduleParameters: { virtio_pci: 'force_legacy=1' } },
  }),
  guest('s390-io', 's390x', ENDS, 'ccw mid-I/O', {}),
  guest('s390-packed-io', 's390x', ENDS, 'ccw, packed rings', { blk: 'packed=on', net: 'packed=on' }),
  guest('s390-legacy-io', 's390x', ENDS, 'ccw max_revision=0: legacy, big-endian', {
    blk: 'max_revision=0',
    net: 'max_revision=0',
  }),
  guest('q35-packed-io', 'x86_64', ENDS, 'packed rings, 2 disk queues', {
    machine: 'q35',
    blk: 'packed=on,num-queues=2',
    net: 'packed=on',
  }),
  guest('microvm-mmio-io', 'x86_64', ENDS, 'virtio-mmio, mid-I/O', {
    machine: 'microvm,pit=on,pic=on,rtc=on',
  }),
  guest('microvm-mmio-modern-io', 'x86_64', NEW, 'virtio-mmio version 2, mid-I/O', {
    machine: 'microvm,pit=on,pic=on,rtc=on',
    args: ['-global', 'virtio-mmio.force-legacy=false'],
  }),
  guest('q35-rootport-io', 'x86_64', NEW, 'modern-only PCIe endpoints behind root ports, aer=on, ats=on', {
    machine: 'q35',
    args: [
      '-device',
      'pcie-root-port,id=rp1,chassis=1,slot=1,addr=4',
      '-device',
      'pcie-root-port,id=rp2,chassis=2,slot=2,addr=5',
    ],
    blk: 'bus=rp1,aer=on,ats=on',
    net: 'bus=rp2,aer=on,ats=on',
  }),
  guest(
    'q35-rootport-aer-io',
    'x86_64',
    ['7.2', '10.0'],
    'PCIe endpoints behind root ports with aer=on, ats=on',
    {
      machine: 'q35',
      args: [
        '-device',
        'pcie-root-port,id=rp1,chassis=1,slot=1,addr=4',
        '-device',
        'pcie-root-port,id=rp2,chassis=2,slot=2,addr=5',
      ],
      blk: 'bus=rp1,aer=on,ats=on',
      net: 'bus=rp2,aer=on,ats=on',
    },
  ),
  guest('pc-bridge-io', 'x86_64', ['7.2', '11.1'], 'devices behind a conventional PCI bridge', {
    machine: 'pc',
    args: ['-device', 'pci-bridge,id=br1,chassis_nr=1,addr=6'],
    blk: 'bus=br1,addr=1',
    net: 'bus=br1,addr=2',
  }),
  guest('q35-iommuplatform-io', 'x86_64', NEW, 'iommu_platform=on, no vIOMMU', {
    machine: 'q35',
    blk: 'iommu_platform=on,disable-legacy=on',
    net: 'iommu_platform=on,disable-legacy=on',
  }),
  guest(
    'q35-vtd-io',
    'x86_64',
    ['7.2', '11.1'],
    'iommu_platform=on behind an emulated VT-d: rings at I/O virtual addresses',
    {
      machine: 'q35,kernel-irqchip=split',
      args: ['-device', 'intel-iommu,intremap=off,device-iotlb=on'],
      blk: 'iommu_platform=on,ats=on,disable-legacy=on',
      net: 'iommu_platform=on,ats=on,disable-legacy=on',
      kernelArgs: 'intel_iommu=on',
    },
  ),
  guest('q35-pagepervq-io', 'x86_64', NEW, 'page-per-vq=on', {
    machine: 'q35',
    blk: 'page-per-vq=on,num-queues=4',
    net: 'page-per-vq=on',
  }),
  guest('q35-pagepervq-io', 'x86_64', ['7.2'], 'page-per-vq=on', {
    machine: 'q35',
    blk: 'page-per-vq=on',
    net: 'page-per-vq=on',
  }),
  guest('q35-vectors-io', 'x86_64', ['7.2', '11.1'], 'MSI-X tables of 1 and 8 vectors', {
    machine: 'q35',
    blk: 'vectors=1',
    net: 'vectors=8',
  }),
  guest('q35-modernpio-io', 'x86_64', ENDS, 'modern-pio-notify=on', {
    machine: 'q35',
    blk: 'modern-pio-notify=on',
    net: 'modern-pio-notify=on',
  }),
  guest('q35-inorder-io', 'x86_64', NEW, 'in_order=on', {
    machine: 'q35',
    blk: 'in_order=on',
    net: 'in_order=on',
  }),
  guest('q35-52-io', 'x86_64', NEW, 'oldest machine type of this QEMU', { machine: 'pc-q35-5.2' }),
  guest('q35-72-io', 'x86_64', NEW, 'machine type 7.2', { machine: 'pc-q35-7.2' }),
  guest('s390-52-io', 's390x', NEW, 'oldest machine type of this QEMU', { machine: 's390-ccw-virtio-5.2' }),
];
