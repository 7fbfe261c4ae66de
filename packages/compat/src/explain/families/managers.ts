import type { Family } from '../family.ts';

/** Messages of Proxmox VE's qemu-server and of nova, which run QEMU and libvirt. */
export const managerFamilies: readonly Family[] = [
  {
    code: 'proxmox-storage',
    pattern: /[Ss]torage '(?<storage>[^']+)' (?:is )?not available on node '(?<node>[^']+)'/,
    meaning:
      'The storage {storage} of the VM is not there on the node {node}, or not enabled for it. Nothing was moved.',
    advice: [
      'Name a storage that {node} has (qm migrate … --with-local-disks --targetstorage NAME), or enable {storage} for {node} (Datacenter, Storage, Nodes) and bring it up there (pvesm status).',
    ],
  },
  {
    code: 'proxmox-local',
    pattern:
      /can't migrate (?:running )?VM which uses (?<what>local (?:devices|resources)[^\n]*|[^\n]+)|can't live migrate attached local disks(?<what2>[^\n]*)|can't migrate (?:local )?(?:disk|cdrom|volume)[^:]*(?<what3>: .+)?|local cdrom image|[Cc]annot migrate because VM has (?<what4>.+)|conflicting (?:online|local)|VM uses (?<what5>local resources.*)/,
    meaning: 'The VM uses something of this node alone: {what}{what2}{what3}{what4}{what5}.',
    advice: [
      'Take it out (eject the ISO, remove hostpci and usb entries, or use resource mappings), put the disk on shared storage, or migrate with --with-local-disks --targetstorage.',
    ],
  },
  {
    code: 'proxmox-failed',
    role: 'consequence',
    pattern:
      /online migrate failure - (?<why>.+)|migration (?:status )?error(?:: (?<why2>.+))?|migration aborted \(duration|migration problems|ERROR: migration (?:aborted|finished with problems)|VM \d+ qmp command '(?<command>[\w-]+)' failed - (?<why3>.+)|migrate (?:failed|status).{0,20}failed|start failed: (?<why4>.+)|QEMU exited with code (?<exit>\d+)|command '.{0,200}' failed: (?:exit code|got (?:timeout|signal)) ?(?<code>\d*)|got timeout|VM quit\/powerdown failed|unable to (?:activate|find) (?:storage|target)|VM \d+ (?:not running|already running)|remote command failed|failed to start (?:remote )?(?:VM|tunnel)|tunnel (?:failed|replied)|can't open migration tunnel/,
    meaning: 'Proxmox only says that it failed ({why}{why2}{why3}{why4}).',
    advice: [
      'Look on the target node: journalctl -b -t QEMU (or grep the VM id), and the task log of the start there; the lines of QEMU have the reason. Paste them here.',
    ],
  },
  {
    code: 'nova-timeout',
    pattern:
      /Live migration (?:not completed after|timeout|timed out)|migration (?:data|progress) .{0,40}(?:timeout|timed out)|live_migration_(?:completion|progress)_timeout/i,
    meaning:
      'nova cancelled the migration: the guest writes its memory faster than it is copied, or the network is slow.',
    advice: [
      'Set live_migration_permit_auto_converge or live_migration_permit_post_copy, more bandwidth, or a longer live_migration_completion_timeout; or force it to complete.',
    ],
  },
  {
    code: 'nova-check',
    pattern:
      /MigrationPreCheckError|Migration pre-check error: (?<why>.+)|InvalidCPUInfo|is not on shared storage: (?<why2>.+)|DestinationDiskExists|MigrationSchedule\w+|NoValidHost|No valid host was found(?<why3>.*)|Compute (?:service|host) .{0,60}(?:unavailable|not found)/,
    meaning: 'nova refused before anything was sent: {why}{why2}{why3}.',
    advice: [
      'Correct what it names: CPU model (cpu_mode=custom with models that all hosts have), shared storage or --block-migration, free resources of the destination.',
    ],
  },
  {
    code: 'nova-failed',
    role: 'consequence',
    pattern:
      /Live [Mm]igration failure: ?(?<why>.*)|Migration operation has (?:aborted|failed)|Migration (?:monitor|running).{0,60}failed|Live migration (?:failed|rollback)|_rollback_live_migration|Error monitoring migration: ?(?<why3>.*)/,
    meaning: 'nova only says that the migration failed: {why}{why3}.',
    advice: [
      'Look on the destination: /var/log/libvirt/qemu/instance-….log has the lines of QEMU with the reason, nova-compute.log and libvirtd what came before. Paste them here.',
    ],
  },
];
