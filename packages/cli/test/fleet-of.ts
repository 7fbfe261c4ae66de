/** A fleet that is simulated: domains as libvirt keeps them, and what their guests have negotiated. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What a modern Linux negotiates with a card on a tap, and with UDP segmentation, as recorded of KubeVirt (its issue 16386). */
export const PLAIN = 0x10130afffafn;
export const SEGMENTING = 0x1c0010130afffafn;

/** A domain with some disks and a card; the ids of libvirt's devices are their aliases. */
export function domainXml(name: string, machine: string, disks: number): string {
  const disk = (index: number): string => `
    <disk type='file' device='disk'><driver name='qemu' type='raw' cache='none' discard='unmap'/>
      <source file='/disks/${name}-${index}.raw'/><target dev='vd${String.fromCharCode(97 + index)}' bus='virtio'/>
      <alias name='virtio-disk${index}'/><address type='pci' domain='0x0000' bus='0x0${index + 2}' slot='0x00' function='0x0'/></disk>`;
  const port = (index: number): string => `
    <controller type='pci' index='${index}' model='pcie-root-port'><model name='pcie-root-port'/><target chassis='${index}' port='0x${(15 + index).toString(16)}'/>
      <alias name='pci.${index}'/><address type='pci' domain='0x0000' bus='0x00' slot='0x02' function='0x${index - 1}'${index === 1 ? " multifunction='on'" : ''}/></controller>`;
  const indices = Array.from({ length: disks }, (_, index) => index);
  return `<domain type='kvm'><name>${name}</name><memory unit='KiB'>4194304</memory><vcpu placement='static'>4</vcpu>
  <os><type arch='x86_64' machine='${machine}'>hvm</type><boot dev='hd'/></os><features><acpi/><apic/></features>
  <devices><emulator>/usr/libexec/qemu-kvm</emulator>${indices.map(disk).join('')}
    <controller type='pci' index='0' model='pcie-root'><alias name='pcie.0'/></controller>${[1, ...indices.map((index) => index + 2)].map(port).join('')}
    <interface type='ethernet'><mac address='02:00:00:00:00:01'/><target dev='tap0' managed='no'/><model type='virtio-non-transitional'/>
      <alias name='net0'/><address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></interface>
    <memballoon model='none'/></devices></domain>
`;
}

/**
 * Writes a fleet into a folder: of five machines three are of RHEL 9 and move, one has a guest that uses UDP segmentation, and one is of
 * QEMU's own type.
 */
export function writeFleet(folder: string, count: number): void {
  mkdirSync(folder, { recursive: true });
  for (let index = 0; index < count; index++) {
    const name = `vm-${String(index).padStart(4, '0')}`;
    const machine = index % 5 === 4 ? 'pc-q35-9.1' : 'pc-q35-rhel9.6.0';
    writeFileSync(join(folder, `${name}.xml`), domainXml(name, machine, 1 + (index % 4)));
    const features = index % 5 === 3 ? SEGMENTING : PLAIN;
    writeFileSync(
      join(folder, `${name}.features.json`),
      JSON.stringify({ net0: `0x${features.toString(16)}` }),
    );
  }
}
