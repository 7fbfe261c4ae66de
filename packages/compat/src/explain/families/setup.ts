import type { Family } from '../family.ts';

/** Messages about what forbids a migration, and about settings that exclude each other. */
export const setupFamilies: readonly Family[] = [
  {
    code: 'usb-redir',
    pattern:
      /usbredirparser: .+|usb-redir connection broken during migration(?<broken>)|[Ff]ailed to load usb-redir:/,
    meaning:
      'The state of a USB redirection (a USB device of a SPICE client) does not load: the two sides, or the library usbredir, do not fit.',
    advice: [
      'Remove the USB redirection devices from the VM (libvirt: <redirdev>, virsh detach-device), then migrate or take the snapshot anew; they are needed only while a SPICE client lends a USB device. Update QEMU and usbredir on both sides.',
    ],
  },
  {
    code: 'blocked-cpu',
    pattern:
      /State blocked by non-migratable CPU device \((?<flag>[\w-]+) flag\)|invtsc.{0,40}(?:migrat|block)/,
    meaning:
      'The CPU of the VM has a flag that forbids migration ({flag}): with an invariant time stamp counter it can only go to a host with the same frequency. QEMU refuses before anything is sent.',
    advice: [
      "Take the flag out of the VM's CPU (libvirt: <feature policy='disable' name='invtsc'/>, or host-passthrough with migratable='on'), and start the VM anew.",
      "Or fix the frequency (tsc-frequency, libvirt: <timer name='tsc' frequency=…/>): then QEMU lets it go to hosts that have the same or can scale it.",
    ],
  },
  {
    code: 'blocked-vhost',
    pattern:
      /[Mm]igration (?:is )?disabled: (?<what>vhost(?:-user)?)[^:]{0,30} (?:lacks|failed to allocate) (?<feature>[\w ]+)/,
    meaning:
      'A {what} back end of the VM cannot log what it writes ({feature}), without which a running VM cannot be moved. QEMU refuses before anything is sent; the VM runs on at the source.',
    advice: [
      'Unmount and detach that device (virtiofs, vhost-user disks or cards) before the migration; or use a back end that can: a current virtiofsd, DPDK or SPDK with log_shmfd, vhost=off for a network card.',
    ],
  },
  {
    code: 'blocked',
    pattern:
      /State blocked by non-migratable device '(?<device>[^']+)'|[Tt]he migration has been blocked: ?(?<reason>.*)|[Mm]igration (?:is )?disabled: (?<reason2>.+)|disallowing migration blocker|Device (?<device2>\S+) is not migratable|(?<![\w:.-])(?<device3>[\w:.-]{1,120}) does not support (?:live )?migration|[Mm]igration (?:is )?(?:currently )?disabled when (?<reason3>.+)|cannot (?:be )?migrated?(?: yet)?: (?<reason4>.+)|(?<reason5>protected VMs|virgl is|SEV|SGX|TDX)\b.{0,20} not (?:yet )?migrate?able/,
    meaning:
      'Something of the VM cannot be moved while it runs: {device}{device2}{device3}{reason}{reason2}{reason3}{reason4}{reason5}. QEMU refuses before anything is sent; the VM runs on at the source.',
    advice: [
      'Take that device out of the VM (hot-unplug it, eject the media, unmount the 9p or virtiofs share), then migrate; or shut the VM down and move it cold.',
    ],
  },
  {
    code: 'vfio',
    pattern:
      /VFIO (?:device )?(?:doesn't|does not|migration)|VFIO migration|vfio.{0,80}migrat|VFIO_DEVICE_FEATURE|VFIO_MIG|(?:precopy|device) (?:state|data|size).{0,40}(?:VFIO|vfio)|DEV_CONFIG|dirty page tracking/,
    meaning:
      'A device that is passed through (VFIO) cannot be moved, or its state was refused: its driver on the host does not support migration, or device, firmware or driver differ on the two sides.',
    advice: [
      'Detach the device before the migration and attach one at the destination after it (a virtio card in a failover pair keeps the network), or move the VM cold.',
      "Devices that support it need the vendor's VFIO driver (mlx5_vfio_pci, qat_vfio_pci, …) with the same firmware on both hosts.",
    ],
  },
  {
    code: 'vfio',
    broad: true,
    pattern:
      /\bvfio|VFIO|state flush|operation cancelled|iommufd|IOMMU (?:group|container)|[Ff]ailed (?:setting|resetting|to set|loading|to load|to save|to query) (?:device|state|buffer|migration)|[Dd]evice (?:in error|config|state)|[Rr]ecover state|[Uu]nknown tag|EOS not found|DMA (?:logging|window)|[Ii]nvalid device state|save setup failed|state buffer|packet (?:has|index|too short)|slow path|\bgroup (?:ID )?\d+|container|size overflow|dirty tracking|region\d+|unaligned region|migration data|device state (?:packet|buffer)|queuing state buffer|load state buffer|load config state|save_complete|pre-copy|precopy/,
    meaning: 'A device that is passed through (VFIO) could not be set up or moved.',
    advice: ['Detach the device before the migration, and attach one at the destination after it.'],
  },
  {
    code: 'options',
    pattern:
      /Capability '?(?<capability>[\w-]+)'? requires capability|not (?:yet )?compatible with (?<other>[\w -]+)|Command options are incompatible|(?:Option|Parameter) '?(?<option>[\w-]+)'? (?:expects (?:a|an) (?:value|integer|power)|must be greater|required for)|can't be used together|must be set before incoming starts|conflicts with auto-converge|Failed to validate capabilities|dirty-limit|Background-snapshot|Use drive_mirror\+NBD|blockdev-mirror with NBD|block migration is deprecated|QEMU compiled without old-style/,
    meaning:
      'The capabilities or parameters that were set for this migration exclude each other, or QEMU does not have them any more ({capability}{other}{option}).',
    advice: [
      "Switch one of the two off (migrate-set-capabilities, virsh migrate's options), the same on both sides.",
    ],
  },
  {
    code: 'options',
    broad: true,
    pattern:
      /[Cc]apability|(?:is|are) (?:not compatible|incompatible)|[Bb]lock migration|cannot be (?:used (?:with|together)|set at the same time)|old-style/,
    meaning:
      'The capabilities or parameters that were set for this migration exclude each other, or QEMU does not have them any more.',
    advice: ['Switch one of the two off, the same on both sides.'],
  },
  {
    code: 'busy',
    pattern:
      /migration process in progress|another migration job|job is already running|migration is not in progress|Guest is waiting for an incoming migration|Can't migrate the vm that was paused due to previous migration|incoming migration has already been started|Migration not in expected state|[Ii]ncoming migration already deferred|'-incoming' was not specified|For use with '-incoming defer'|Postcopy (?:must be started|migration in progress)|Enable postcopy with|Cannot resume if there is no paused|(?:cannot acquire|Cannot (?:acquire|start job)|Timed out during operation: cannot acquire) state change lock(?: \(held by (?<held>[^)]+)\))?|[Cc]annot update device state while vm is running/,
    meaning:
      'Another job of this VM is not finished ({held}), or it is not in the state that this command needs.',
    advice: [
      'Look at what is going on (virsh domjobinfo, QMP query-migrate, qm status), let it finish or abort it (virsh domjobabort, migrate_cancel), then try again.',
      'A lock that is held for hours: QEMU or its storage hangs; look at the QEMU process and at journalctl -k.',
    ],
  },
  {
    code: 'vmstate',
    pattern:
      /failed to (?:load|save) (?:gtree|SaveStateEntry[^:]*)|inconsistent stream when loading the gtree|Output state validation failed: (?<field>\S+)|Save of field (?<field2>\S+) failed|Loading VM subsection '(?<subsection>[^']+)' in '(?<vmsd>[^']+)' failed|[Ll]oad state of device (?<device>\S+) failed|Detected duplicate SaveStateEntry: id=(?<id>[^,]+)|VMSTATE not ending|Size of VMstate region|Path too long for VMState|Failed to save (?:iterable|non-iterable)|Error saving global state|Failed to load (?<what>device|\S+) state/,
    meaning:
      'The state of {device}{field}{field2}{vmsd}{id}{what} could not be read or written {subsection}.',
    advice: [
      'Use the same machine type, devices and properties on both sides, and a destination that is not older than the source; virtkit check FILE --target … compares.',
    ],
  },
  {
    code: 'pre-save',
    pattern: /pre-save failed: (?<vmsd>[\w/.-]+)|pre-save for (?<vmsd2>\S+) failed/,
    meaning:
      'The device {vmsd}{vmsd2} cannot be saved at this moment: nothing was sent or written, and the VM runs on.',
    advice: [
      'Take that device out of the VM, or use another model (qxl: video model virtio or vga instead, it cannot be saved with some versions of QEMU and spice-server), and update QEMU.',
    ],
  },
  {
    code: 'post-load',
    pattern:
      /(?<stage>post load|pre load) hook failed for: '?(?<vmsd>[^',]+)'?|(?:pre|post)-save (?:for (?<vmsd2>\S+) )?failed(?:: (?<vmsd3>[\w/.-]+))?/,
    meaning:
      'The state of "{vmsd}{vmsd2}{vmsd3}" was read, but it does not fit the device at the destination (or could not be prepared at the source). What does not fit stands in the line before.',
    advice: [
      'Compare that device on both sides: properties, machine type, back end; virtkit check FILE --target … compares all of them.',
    ],
  },
  {
    code: 'stream-end',
    pattern:
      /(?:Failed to (?:read|load)|Unable to read|Read) (?:instance\/version ID|section ID|ID string for section|VM process command|section footer)|Section footer error|loadvm failed|[Uu]nexpected end-of-file|received with bad length|invalid payload length|Failed to load (?:section ID|VM process command)/,
    role: 'consequence',
    meaning:
      'The stream ended or became unreadable between two sections: the other side stopped sending, or the section before it was read with another length.',
    advice: [
      'Look into the log of the source for why it stopped; if it did not, check a file with virtkit verify FILE, and compare machine type and devices of both sides.',
    ],
  },
  {
    code: 'uuid',
    pattern: /UUID is received (?<received>\S+), but local uuid isn't set/,
    meaning: 'The stream is of the VM {received}, and the destination was started without a UUID.',
    advice: ['Start the destination with -uuid {received}, or switch validate-uuid off.'],
  },
  {
    code: 'dbus-vmstate',
    pattern:
      /dbus-?vmstate|VMState Id|Failed to (?:call|connect) .{0,40}(?:DBus|D-Bus|dbus)|vmstate\.size|backend .{0,20}vmstate|Error while (?:loading|saving|reading|writing) .{0,20}D-?Bus/i,
    meaning:
      'The state of a helper program beside QEMU (dbus-vmstate: slirp, TPM, vhost-user) could not be moved.',
    advice: ['Start the same helper programs with the same ids on both sides before the migration.'],
  },
  {
    code: 'global-state',
    pattern:
      /Unknown savevm section or instance 'globalstate'|globalstate|vmstate_globalstate|Unknown ending state|runstate/,
    broad: true,
    meaning: 'The run state of the VM could not be taken over.',
    advice: [
      'Pause the VM before the migration, or migrate it while it runs; do not migrate a VM that has crashed or is being saved.',
    ],
  },
  {
    code: 'colo',
    broad: true,
    pattern: /COLO|colo\b|colo[-_ ]|replication module/,
    meaning: 'COLO (two VMs in step) is not set up on one of the sides.',
    advice: ['Switch the capability x-colo off on both sides; COLO is no ordinary migration.'],
  },
  {
    code: 'vmstate',
    broad: true,
    pattern:
      /failed to (?:load|save) |^put failed|[Mm]igration completion|write tracking|pause (?:source|destination) migration|stop the VM|migration_stop_vm|migration_maybe_pause|resume_prepare|preempt channel|unknown channel magic|'uri' (?:or|and) 'channels'|Error allocating|ramstate|ram_\w+ (?:failed|unexpected)|incorrect state|failed to read page|storage_attributes|[Ss]torage (?:attributes?|keys?)|_KEYS|get_keys|cmma|skeys|global state|[Pp]artial (?:read|write)|allocate (?:page )?cache|truncate migration|packaged data|partially unplugged|^\S+ (?:failed|unexpected error)$|write_tracking|allocate memory|given address|[Ss]etting env|cmd\.exe/,
    meaning: 'A step of the migration failed, before or after the state of the devices.',
    advice: ['Look at the other messages and at the log of the other side: this one does not say why.'],
  },
  {
    code: 'dbus-vmstate',
    broad: true,
    pattern:
      /: Failed to (?:Load|Save|restore Id|create proxy|find proxy|get proxies|(?:read from|write to|close) stream)|Short read/,
    meaning: 'The state of a helper program beside QEMU (dbus-vmstate) could not be moved.',
    advice: ['Start the same helper programs with the same ids on both sides before the migration.'],
  },
];
