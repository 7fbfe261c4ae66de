import type { Family } from '../family.ts';

/** Messages of libvirt itself about migrations, saves and snapshots. */
export const libvirtFamilies: readonly Family[] = [
  {
    code: 'abi',
    pattern:
      /(?:unsupported configuration: )?Target (?<what>[\w -]{2,60}?) '?(?<target>[^' ]*)'? ?(?:does not|doesn't|do not) match source ?(?<rest>.*)|(?<![\w' :-])(?<what2>(?:State of |Size of )?[\w' :-]{3,80}?) differs(?: between source and destination definitions)?(?:: source: '?(?<source>[^']*?)'?, destination: '?(?<destination>[^']*?)'?)?$/,
    meaning:
      'The domain XML for the destination describes another machine than the one that runs: {what}{what2} {target} {rest}{source} {destination}. libvirt refuses before QEMU is asked.',
    advice: [
      'Give the destination the XML of the running domain (virsh dumpxml --migratable NAME), and change only what may differ (paths, host devices, graphics listen): --xml, virsh save-image-edit.',
    ],
  },
  {
    code: 'not-migratable',
    pattern:
      /cannot migrate a? ?domain(?: with (?<what>[^:]+))?(?:: (?<reason>.+))?|domain has (?:assigned|an active|snapshots|host)(?<what2>[^:]*)|(?<what3>shmem device|hostdev|domain with \S+).{0,40}(?:cannot be|can't be|not) migrated|[Mm]igration with (?<what4>[\w ]+) (?:device |lock driver )?(?:is )?(?:not supported|requires)|cannot migrate a domain with <(?<what5>[^>]+)>/,
    meaning:
      'libvirt does not move a VM with what this one has: {what}{what2}{what3}{what4}{what5} {reason}.',
    advice: [
      'Detach it (virsh detach-device), migrate, and attach one at the destination; or shut the VM down and move it cold (--offline --persistent).',
    ],
  },
  {
    code: 'same-host',
    pattern: /Attempt to migrate guest to the same host (?<host>\S+)/,
    meaning:
      'libvirt holds source and destination for the same host ({host}): both have the same host UUID (of the firmware, or cloned), or the address leads back.',
    advice: [
      'Give each host a host_uuid of its own in /etc/libvirt/libvirtd.conf (host_uuid_source = "machine-id"), and check that the name resolves to the other host.',
    ],
  },
  {
    code: 'save-image',
    pattern:
      /save image (?:is )?(?:incomplete|corrupt)|failed to read (?:qemu )?(?:header|XML|metadata)|image magic is incorrect|image version is not supported \((?<version>\d+ > \d+)\)|[Ii]nvalid (?:compressed save format|header data length)[: ]*(?<value>-?\d+)|unsupported save image format|[Cc]ompression program for (?<format>\S+) image format|Invalid (?<format2>\S+) image format specified|cannot remove corrupt file|failed to write (?:cookie|domain xml|header|padding) to|Failed to save status on vm/,
    meaning:
      'The save file cannot be read or written by this libvirt: it is unfinished, of a newer libvirt ({version}{value}), or packed with {format}{format2}, which is not installed here.',
    advice: [
      'virtkit inspect FILE says what is in it; save once more with save_image_format = "raw", or restore with a libvirt that is not older.',
    ],
  },
  {
    code: 'disk-unknown',
    pattern:
      /disk target (?<disk>\S+) not found|unable to find disk (?:by )?target[: ]*'?(?<disk2>[^' ]+)|Can't find disk '(?<disk3>[^']+)'|malformed disk path|Malformed disk capacity|missing block job data for disk '(?<disk4>[^']+)'|failed to find data for block node/,
    meaning:
      'The list of disks to copy names one that the domain does not have ({disk}{disk2}{disk3}{disk4}).',
    advice: ['Use the target names of virsh domblklist (vda, sda) with --migrate-disks.'],
  },
  {
    code: 'aborted',
    pattern:
      /operation aborted: |job '(?<job>[^']+)' cancel+ed(?: by client)?|[Mm]igration (?:was )?cancel+ed|canceled by client|migrate_cancel|operation was cancelled/,
    role: 'consequence',
    meaning:
      'Somebody, or a time limit of the program above, has cancelled the migration. The VM runs on at the source.',
    advice: [
      'Look who: nova (live_migration_completion_timeout), KubeVirt (completionTimeoutPerGiB, progressTimeout) and virsh (--timeout) cancel what does not end. Then let it converge: more bandwidth, auto-converge, postcopy, or a longer limit.',
    ],
  },
  {
    code: 'postcopy-failed',
    pattern:
      /failed during post-copy|in post-copy phase|post-copy migration of domain|leaving the domain (?:running|paused)|is not in post-copy phase/,
    meaning: 'The migration failed after the VM had started at the destination: its memory is in two halves.',
    advice: [
      'Keep both sides as they are, mend the network, and resume (virsh migrate --postcopy-resume …); destroying either side loses the VM.',
    ],
  },
  {
    code: 'unknown-outcome',
    pattern:
      /we don't know if the domain was successfully started on destination|Domain not found: no domain with matching (?:uuid|name)|no domain with matching name '(?<name>[^']+)'|domain is (?:not|no longer) running|domain is not active/,
    role: 'consequence',
    meaning:
      'The VM is not (or no longer) there where libvirt looked: on the destination its QEMU has ended while it was loading.',
    advice: [
      'Look which side runs it (virsh list --all on both), and into /var/log/libvirt/qemu/NAME.log on the destination: its last lines have the reason. Paste them here.',
    ],
  },
  {
    code: 'job-failed',
    pattern:
      /job '(?<job>[^']+)' (?:unexpectedly failed|failed: (?<error>.+)|is not active)|(?:migration job|migration out job|migration in job): (?:unexpectedly failed|(?<error2>.+))|[Uu]nable to execute QEMU command '(?<command>[^']+)'(?:: (?<error3>.+))?|operation failed: migration|failed to resume|migration failed\. Message from|Could not refresh migration statistics|failed to close intermediate pipe|Unable to (?:stop NBD server|set FD \d+ blocking)|connection which controls migration|being actively monitored|Failed to resume guest|qemu unexpectedly closed the monitor|process exited while connecting to monitor|QEMU unexpectedly closed the monitor|[Pp]rocess exited prior to exec/,
    role: 'consequence',
    meaning: "libvirt only says that it failed ({error}{error2}{error3}); the reason is in QEMU's own log.",
    advice: [
      'Look into /var/log/libvirt/qemu/NAME.log on the destination (it was kept there although the VM is gone), and paste its last lines here: virtkit explain names the cause.',
    ],
  },
  {
    code: 'libvirt-param',
    pattern:
      /(?:unknown|invalid value '[^']*' for|missing value for) migration parameter|migration parameter '[^']+' must|Type mismatch for '[^']+' migration parameter|Migration option '(?<option>[^']+)' is not supported by QEMU|(?:Unsupported c|C)ompression method '(?<method>[^']+)'|parameter '+(?<parameter>[\w.]+)'+ (?:is )?not supported|argument unsupported: parameter '+(?<argument>[\w.]+)'+ not supported|argument unsupported|bandwidth must be less|unexpected migration schema|unsupported flags|malformed.{0,20}tlsPort|invalid tlsPort|[Nn]o URI scheme specified|URI with tcp scheme|[Uu]nsupported scheme|missing (?:host|scheme) in migration URI|Malformed nbd port|unknown graphics type/,
    meaning:
      'The program above asked libvirt for a migration option that this libvirt or QEMU does not have ({option}{method}{parameter}{argument}).',
    advice: [
      'Use libvirt and QEMU of the version that the program above (KubeVirt, Harvester, nova, oVirt) was built for, the same on both hosts; or leave the option away.',
    ],
  },
  {
    code: 'libvirt-cookie',
    pattern:
      /[Cc]ookie (?:data|support|feature)|migration cookie|lock driver|lock state for|migration protocol going backwards|relocation|OVS port data|Port profile Associate failed/,
    meaning:
      'The two libvirts do not understand each other about the migration, or a lock manager or switch on one host is not set up as on the other.',
    advice: ['Use the same libvirt version, lock manager and Open vSwitch set-up on both hosts.'],
  },
  {
    code: 'libvirt-start',
    pattern:
      /(?:[Ff]ailed|[Uu]nable|[Cc]annot|error|denied|missing|not found).{0,100}(?:swtpm|virtiofsd|pr-helper|cgroup|nvram|security (?:label|context))|Domain \S+ didn't show up|filter '[^']+' instantiation|PCI device \S+ allocated from network/,
    meaning:
      'libvirt could not prepare the VM on this host: a helper, a directory, a network or a right is missing.',
    advice: [
      'Correct what the line names on this host (journalctl -u virtqemud or libvirtd has more), then migrate again.',
    ],
    role: 'consequence',
  },
];
