import type { Family } from '../family.ts';

/**
 * Messages of a destination that did not start: QEMU refused its own command line, before anything of the VM had
 * arrived.
 */
export const startFamilies: readonly Family[] = [
  {
    code: 'machine-missing',
    pattern:
      /-machine (?:type=)?(?<machine2>[\w.+-]+)[^:]{0,200}: [Uu]nsupported machine type|[Uu]nsupported machine type(?: '(?<machine>[^']{1,64})')?|machine type '(?<machine3>[^']+)' (?:is )?not (?:supported|found)/,
    meaning:
      'The QEMU of this host does not have the machine type {machine}{machine2}{machine3} at all: it is too old for it, too new (old machine versions are removed), or of another distribution (pc-q35-rhel9.6.0, pc-i440fx-jammy and the like exist only in theirs).',
    advice: [
      'Migrate to a host whose QEMU lists the type (qemu-system-x86_64 -machine help), of the same distribution and not older than the source.',
      'Or shut the VM down, set a machine type that both hosts have (virsh edit, VM spec, qm set --machine), and start it anew; a saved state or snapshot of the old type is lost.',
    ],
  },
  {
    code: 'machine-too-new',
    pattern:
      /Installed (?:QEMU|qemu) version '(?<version>[^']+)' is too old to run machine type '(?<machine>[^']+)'/,
    meaning:
      'The node has QEMU {version}, which is older than the machine type {machine} that the VM runs with.',
    advice: [
      'Upgrade this node to the QEMU of the node that the VM comes from, then migrate again: moves go from older to newer nodes only.',
      'Or pin an older machine version in the VM configuration (Hardware, Machine) and start the VM anew.',
    ],
  },
  {
    code: 'property-missing',
    pattern: /Property '?(?<device>[\w-]+)\.(?<property>[\w-]+)'? not found/,
    meaning:
      'The QEMU of this host does not know the property {property} of {device}, which the command line sets: it is older than the one that the VM was started with, or built without that feature.',
    advice: [
      'Use a host with the QEMU version of the source or a later one.',
      'Or take {property} out of the VM configuration at the source, and start it anew there.',
    ],
  },
  {
    code: 'property-value',
    pattern:
      /Property '(?<property>[^']+)' doesn't take value '?(?<value>[^']*?)'?(?: \(|$)|Parameter '(?<parameter>[^']+)' (?:expects|does not accept)|Invalid parameter '(?<invalid>[^']+)'|Property (?<object>[\w-]+\.[\w-]+) doesn't take value (?<number>\S+)/,
    meaning:
      'QEMU refuses a value of its command line ({property}{parameter}{invalid}{object}). The VM did not start; nothing of it has been loaded.',
    advice: [
      'Compare the QEMU versions of both hosts: the value came from a source whose QEMU (or libvirt) knows it.',
      'Correct that property in the VM configuration.',
    ],
  },
  {
    code: 'device-missing',
    pattern:
      /'(?<device>[\w.,-]+)' is not a valid device model name|Parameter 'driver' expects a pluggable device type|(?:unknown|invalid) (?:device|object) type:? '?(?<device2>[\w-]+)'?|No '(?<bus>[\w-]+)' bus found for device '(?<device3>[^']+)'/,
    meaning:
      'The QEMU of this host has no device {device}{device2}{device3}: it is built without it (distributions split devices into packages), or it is older.',
    advice: [
      "Install the missing QEMU packages on this host (qemu-system-modules, qemu-kvm-device-…, qemu-block-extra), or use a host with the source's QEMU.",
    ],
  },
  {
    code: 'cpu-nested',
    pattern:
      /(?:missing features: |required features: )(?<missing>(?:vmx|svm)[\w-]*(?:, ?(?:vmx|svm)[\w-]*)*)(?![\w,-])/,
    meaning:
      "The destination's KVM does not offer the nested virtualization that the guest was started with: {missing}. Its processor is not the point: these come from kvm_intel or kvm_amd, their kernel and their parameters.",
    advice: [
      'Switch nested virtualization on at the destination (kvm_intel nested=1, kvm_amd nested=1) with the kernel of the source; or, if the VM runs no guests of its own, switch it off for the VM (vmx or svm disabled; KubeVirt: a named cpu model with feature vmx policy disable) and start it anew.',
    ],
  },
  {
    code: 'cpu-features',
    pattern:
      /guest CPU doesn't match specification(?:: extra features: (?<extra>[\w.,-]+))?[:,]? ?(?:missing features: (?<missing>[\w.,-]+))?|guest and host CPU are not compatible: Host CPU does not provide required features: (?<required>[\w., -]+)|the CPU is incompatible with host CPU: Host CPU does not provide required features: (?<required2>[\w., -]+)/,
    meaning:
      "The destination's CPU (or its KVM, microcode or kernel) does not provide the CPU features that the guest was started with: {missing}{required}{required2}{extra}.",
    advice: [
      'Migrate to a host that has these features, or start the VM anew with a CPU model that all hosts have (a named model, not host-model or host-passthrough; KubeVirt: spec.domain.cpu.model).',
      'Features that vmx-, svm-… begin with come from nested virtualization: switch it the same on all hosts (kvm_intel nested=), or off for this VM.',
      'Features that one and the same processor lacks on one host come from another microcode, kernel or mitigation there: bring both hosts to the same level (hle, rtm: tsx=).',
    ],
  },
  {
    code: 'cpu-features',
    pattern: /[Hh]ost doesn't support requested features?(?:: (?<feature>.+))?$/,
    role: 'warning',
    meaning:
      'The CPU or KVM of this host does not offer a CPU feature that the VM asks for: {feature}. QEMU goes on without it unless it runs with enforce.',
    advice: ['Use a CPU model that all hosts have.'],
  },
  {
    code: 'cpu-model',
    pattern:
      /unable to find CPU model '(?<model>[^']+)'|[Uu]nknown CPU model (?<model2>\S+)|Preferred CPU model (?<model4>\S+) not allowed by hypervisor|CPU model (?<model3>\S+) is not supported by hypervisor|unknown CPU feature:? (?<feature>\S+)|Unknown CPU feature (?<feature2>\S+)|CPU mode '(?<mode>[^']+)' for \S+ \S+ domain on \S+ host is not supported|Unacceptable CPU info: (?<info>.+)|(?:CPU doesn't have compatibility)/,
    meaning:
      'The destination cannot give the guest its CPU ({model}{model2}{model3}{model4}{feature}{feature2}{mode}{info}): the hypervisor there does not know it, or the processor is not able to.',
    advice: [
      'Use a CPU model that all hosts know (virsh domcapabilities; nova: cpu_mode=custom, cpu_models=…; Proxmox: x86-64-v2-AES), and start the VM anew with it.',
      'Or migrate to a host with the same or a later processor and software.',
    ],
  },
  {
    code: 'disk-locked',
    pattern:
      /Failed to get (?:shared )?"?(?<lock>write|consistent read|resize|write unchanged)"?(?: lock)?|Failed to lock byte (?<byte>\d+)|Is another process using the image/,
    meaning:
      'The disk image is in use by another process: mostly the other side of a migration that has not let go of it (or a second VM, a backup, qemu-nbd).',
    advice: [
      'See who has it open (lsof or fuser on the image, on every host that shares it), and end that; a source that was left over is destroyed only if the VM runs elsewhere.',
      'During a migration: the image must be on storage that both sides see, and NFS must support locks (nolock and old NFS do not hand them over).',
    ],
  },
  {
    code: 'disk-missing',
    pattern:
      /Could not open '(?<file>[^']+)': (?<error>[^:'"]{3,60})|[Cc]annot access (?:storage|backing) file '(?<file2>[^']+)'|Unable to stat (?<file3>\S+?): |No such (?:volume|disk image)|volume '(?<volume>[^']+)' does not exist|Storage file '?(?<file4>[^' ]+)'? does not exist/,
    meaning:
      'The destination cannot open the disk {file}{file2}{file3}{file4}{volume}: it is not there, or its rights do not allow it.',
    advice: [
      'Make the storage visible at the same path on both hosts (mount, volume attachment, active pool), with the rights of the QEMU user; or migrate with the disks (--copy-storage-all, block migration, qm migrate --with-local-disks).',
      'If the file is there: look at owner, SELinux or AppArmor (ausearch -m avc, journalctl -k | grep DENIED).',
    ],
  },
  {
    code: 'memory-missing',
    pattern:
      /cannot set up guest memory '?(?<block>[^':]+)'?: (?<error>.+)|[Cc]annot allocate memory|Insufficient free host memory pages available to allocate guest RAM|unable to map backing store for (?:guest RAM|hugepages)|[Cc]ould not preallocate memory|os_mem_prealloc|preallocating memory failed|qemu_prealloc_mem/,
    meaning: 'The destination has not enough free memory (or huge pages) for the guest.',
    advice: [
      'Free memory or reserve huge pages of the size that the VM uses on that host (grep Huge /proc/meminfo, per NUMA node), or migrate to another host.',
    ],
  },
  {
    code: 'address-in-use',
    pattern:
      /Address already in use|Failed to find an available port|Unable to find an unused port in range '(?<range>[^']+)'/,
    meaning:
      'A port or socket that the destination wants to listen on is taken{range}: by another migration, or by a QEMU that was left over.',
    advice: [
      'Look who listens there (ss -ltnp), and end what was left over; then try again.',
      "More ports for migrations at the same time: migration_port_min and migration_port_max of libvirt's qemu.conf.",
    ],
  },
  {
    code: 'accelerator',
    pattern:
      /Could not access KVM kernel module: (?<error>.+)|failed to initialize kvm: (?<error2>.+)|invalid accelerator (?<accelerator>\w+)|No accelerator selected|host doesn't support hyperv/i,
    meaning: 'KVM cannot be used on the destination: {error}{error2}{accelerator}.',
    advice: [
      'Switch virtualization on in the firmware, load kvm_intel or kvm_amd, and give the QEMU user access to /dev/kvm.',
    ],
  },
  {
    code: 'firmware',
    pattern:
      /[Cc]ould not (?:load|open|read) (?:the )?(?:PC )?(?:BIOS|firmware|ROM)[^']*'?(?<file>[^']*)'?|failed to (?:find|load) romfile "(?<rom>[^"]+)"|[Uu]nable to find (?:any )?(?:master var store|firmware|efi firmware)[^:]*:? ?(?<loader>\S*)|system firmware block device (?<device>\S+) has invalid size|device requires (?<bytes>\d+) bytes, block backend provides (?<got>\d+) bytes/,
    meaning:
      "The destination's firmware files are not those of the source ({file}{rom}{loader}{device}): one is missing, or has another size.",
    advice: [
      'Install the same firmware packages (edk2-ovmf, ovmf, seabios, ipxe-qemu) in the same version on both hosts.',
    ],
  },
  {
    code: 'network-missing',
    pattern:
      /(?:could not configure|unable to (?:create|open)) (?:\/dev\/net\/)?tun?(?:tap)?[^:]*|Cannot get interface MTU on '?(?<bridge>[^':]+)'?: No such device|network '(?<network>[^']+)' is not active|bridge '(?<bridge2>[^']+)' does not exist|Unable to add port (?<port>\S+) to (?:OVS )?bridge|Network not found: no network with matching name '(?<network2>[^']+)'|failed to create tap device/i,
    meaning: 'The destination lacks the network of the VM: {bridge}{bridge2}{network}{network2}{port}.',
    advice: [
      'Create and start the same bridge or network (same name) on the destination; vhost_net and tun must be loaded.',
    ],
  },
  {
    code: 'pci-address',
    pattern:
      /PCI: slot (?<slot>\d+) function (?<function>\d+) (?:not available for (?<device>[\w-]+)|already occupied)|PCI: no slot\/function available for (?<device2>[\w-]+)|Bus '(?<bus>[^']+)' not found|PCI: (?:single function device|slot \d+ is not valid|\S+ indicates single function)/,
    meaning:
      'The command line of the destination puts {device}{device2} where no device can be (bus {bus}, slot {slot}).',
    advice: [
      'Start the destination with the addresses of the source: virsh dumpxml of the running domain, not the persistent definition, has them; hot-plugged devices included.',
    ],
  },
  {
    code: 'destination-config',
    pattern:
      /can't apply global (?<global>\S+)|Duplicate ID '(?<id>[^']+)'|Device '(?<backend>[^']+)' not found|There is no netdev|could not find a module for type '(?<type>[^']+)'|There is no option group|(?<!\S)(?<option>\S{1,120}): invalid option|requires a value|Drive '(?<drive>[^']+)' is already in use|Device '(?<device>[^']+)' (?:can not be hotplugged|does not support hotplugging)|Device '(?<device2>[^']+)' could not be initialized/,
    meaning:
      'QEMU refuses its own command line ({global}{id}{backend}{type}{option}{drive}{device}{device2}). The VM did not start; nothing of it has been loaded.',
    advice: [
      'Compare the command line (or the domain XML) with that of the source, line by line: it is in /var/log/libvirt/qemu/NAME.log of both hosts.',
    ],
  },
];
