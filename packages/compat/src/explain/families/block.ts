import type { Family } from '../family.ts';

/** Messages about disks around a migration: hand-over, mirrors, snapshots, bitmaps. */
export const blockFamilies: readonly Family[] = [
  {
    code: 'snapshot-missing',
    pattern:
      /Device '(?<device>[^']+)' does not have the requested snapshot '(?<name>[^']+)'|Snapshot '(?<name2>[^']+)' does not exist in one or more devices|Snapshot can not be found|disk-only snapshot|[Cc]ould not (?:load|open) (?:snapshot|VM state file)|vmstate: no vmstate|qcow2: VM state/,
    meaning: 'The snapshot {name}{name2} is not in the image {device}, or holds no state of a machine.',
    advice: [
      'List what is there: qemu-img snapshot -l IMAGE (a state has a VM SIZE), and load one of these; a disk-only snapshot is reverted with the VM off.',
    ],
  },
  {
    code: 'vmstate-load',
    role: 'consequence',
    pattern: /Error (?<error>-?\d+) while loading VM state|Error while loading vmstate/,
    meaning:
      'The state of a snapshot does not load ({error}); what does not fit, the lines of QEMU before this one say.',
    advice: [
      'Start QEMU as it was when the snapshot was taken: the same version or a newer one with the same machine type, the same devices in the same slots, the same memory; then load it. virtkit check IMAGE#NAME --target … --args COMMAND-LINE says what differs.',
    ],
  },
  {
    code: 'storage-io',
    pattern:
      /(?:[Cc]an't list snapshots of device '(?<disk>[^']+)'|[Cc]ould not (?:read|write|flush|refresh|inactivate)[^:]{0,80}|(?:read|write|flush) (?:of|to|from) [^:]{0,60}): Input\/output error|[Bb]lk_update_request: I\/O error, dev (?<dev>\w+)|paused state due to IO error|BLOCK_IO_ERROR/,
    meaning:
      "The storage of a disk does not answer, or answers with errors ({disk}{dev}). That is the storage's matter, not the VM's state.",
    advice: [
      'Look at the storage from that host (journalctl -k, the volume and its paths, ceph -s, the NFS server), mend it, and try again; a VM that is paused for it goes on with virsh resume.',
    ],
  },
  {
    code: 'snapshot',
    pattern:
      /does not support (?:internal )?snapshots?|can accept snapshots|supports snapshots|At least one device is required for snapshot|is writable but does not support|internal snapshot|vmstate block device|[Ee]rror while (?:creating|deleting|loading|writing|saving).{0,20}(?:snapshot|vmstate|VM state)|Snapshot '[^']+' already exists|Could not (?:create|delete|check) snapshot|Record\/replay|no block device can store vmstate|Failed to (?:get a snapshot list|load snapshot)|bdrv_(?:read|write)v_vmstate|[Bb]lock driver (?:does not support|is closed)|active dirty bitmaps|Device is not readonly|No block device node|cannot migrate domain with (?<count>\d+) snapshots|Snapshots are not compatible|snapshots? (?:are|is) not supported|reverting to snapshot is not supported/,
    meaning:
      'The snapshot could not be made, loaded or taken along: a disk of the VM cannot hold one, its state does not load, or something is in its way.',
    advice: [
      'Every writable disk must be qcow2 for an internal snapshot (virtio pflash and raw disks are none): make an external one (virsh snapshot-create-as --memspec --diskspec), or virsh save.',
      'If a state does not load, the lines before say why: devices, machine type and QEMU must be those of the time of the snapshot.',
    ],
  },
  {
    code: 'image-inactive',
    pattern:
      /bdrv_inactivate_all|[Bb]lock (?:inactivate|activate)|BDRV_O_INACTIVE|[Ff]ailed to re-activate block nodes|bdrv_activate_all|Block node is inactive/,
    meaning:
      'A disk could not be handed over from one side to the other at the end of the migration: its format, storage or another user of it is in the way.',
    advice: [
      'End jobs and exports on that disk (backup, mirror, NBD), and see that both sides can open it; if the VM does not run on either side, start it again at the source.',
    ],
  },
  {
    code: 'disk-chain',
    pattern:
      /pre-creation of storage target(?: '(?<target>[^']+)')? for incremental storage migration of disk '(?<disk>[^']+)' is not supported/,
    meaning:
      'Only the top image of disk {disk} was to be copied (incremental), and libvirt does not make its target: the backing image must be on the destination already, and the new top image with it.',
    advice: [
      'Copy the whole disk instead (--copy-storage-all; CloudStack: a VM whose template is gone is to be stopped and started once), or make the backing image and {target} on the destination before.',
    ],
  },
  {
    code: 'disk-read-only',
    pattern: /[Cc]annot migrate empty or read-only disk (?<disk>\w+)/,
    meaning:
      'The disk {disk} was to be copied to the destination, and libvirt copies neither empty drives nor read-only disks.',
    advice: [
      'Leave {disk} out of what is copied: eject the medium or detach the disk before the migration (KubeVirt: do not make it read-only, or put it on a ReadWriteMany volume), or name the others alone with --migrate-disks.',
    ],
  },
  {
    code: 'mirror',
    pattern:
      /migration of disk (?<disk>\S+) failed(?:: (?<error>.+))?|block job (?:\(mirror\) )?error(?:: (?<error2>.+))?|'mirror' has been cancelled|mirror.{0,40}(?:failed|error)|(?:drive|blockdev)-mirror.{0,60}(?:failed|error)|nbd.{0,60}(?:failed|refused|error|reset)|[Ss]erver requires (?:a )?(?:TLS|different export)|disk (?<disk2>\S+) (?:is )?(?:not found|mirror)|precreate storage|pre-creation of storage|unable to find disk target|non-shared storage|storage migration (?:for '(?<volume>[^']+)' to storage '[^']+' )?failed/,
    meaning: 'The copy of a disk to the destination failed ({disk}{disk2}{volume}: {error}{error2}).',
    advice: [
      'See that the destination has room and an image of the same size and format for it, that the NBD ports (49152 to 49215; Proxmox: ssh) are open, and that both storages work; then try again.',
      'Disks that both sides see need no copy: leave --copy-storage-all away; empty or read-only drives are left out (--migrate-disks).',
    ],
  },
  {
    code: 'shared-storage',
    pattern:
      /Unsafe migration: (?<reason>.+)|Migration may lead to data corruption if disks (?:use|do not)|is not on shared storage|not on local storage|Live migration can ?not be used without shared storage|can't (?:live )?migrate (?:VM|attached local disks|local disk)[^:]*|PVC (?<claim>\S+) is not shared|cannot migrate VMI(?: with|: (?<why>.+))|DisksNotLiveMigratable|must be ReadWriteMany|HotplugNotLiveMigratable/,
    meaning:
      'The disks of the VM are not on storage that both hosts see, or are cached in a way that makes sharing them unsafe ({reason}{claim}{why}).',
    advice: [
      "Use storage that both hosts reach with cache='none' (KubeVirt: a PVC with accessModes ReadWriteMany), or copy the disks along (--copy-storage-all; nova --block-migrate; Proxmox: --with-local-disks).",
    ],
  },
  {
    code: 'bitmap',
    pattern: /[Bb]itmap|node (?:alias|name)|block-bitmap-mapping|alias/,
    broad: true,
    meaning: 'A dirty bitmap (of incremental backups) could not be moved.',
    advice: [
      'Use the same node names or a block-bitmap-mapping on both sides, or switch dirty-bitmaps off: the next backup is a full one then.',
    ],
  },
  {
    code: 'disk',
    broad: true,
    pattern:
      /[Bb]lock|[Dd]isk|[Dd]rive|[Ii]mage|cdrom|[Ss]napshot|[Vv]mstate|VMState|zone(?:d| )|discard|write_zeroes/,
    meaning: 'A disk of the VM is not as QEMU needs it.',
    advice: ['Compare the disks of both sides: image, size, format, cache, queues; the line names which.'],
  },
];
