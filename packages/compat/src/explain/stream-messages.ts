import { group, type MessageRule } from '@virtkit/core/qemu';

/** Messages about the stream around the devices, and those that only say where it failed. */
export const streamMessages: readonly MessageRule[] = [
  {
    pattern: /Unknown ramblock "([^"]+)", cannot accept migration/,
    explain: (match) => ({
      code: 'ramblock',
      role: 'cause',
      meaning: `The source has a memory block "${group(match, 1)}" that the destination does not have.${/\.rom$/.test(group(match, 1)) ? ' It is the option ROM of a device.' : ''}`,
      advice: [
        /\.rom$/.test(group(match, 1))
          ? 'Give the destination the same devices in the same slots, with the same romfile and rombar.'
          : 'Give the destination the same memory back ends, with the same id (memory-backend, -m), and the same video memory and ROMs.',
      ],
      facts: { block: group(match, 1) },
    }),
  },
  {
    pattern: /Size mismatch: (\S+): (0x[0-9a-f]+) != (0x[0-9a-f]+)/i,
    explain: (match) => ({
      code: 'ramblock-size',
      role: 'cause',
      meaning: `Memory block "${group(match, 1)}" has ${Number(group(match, 2))} bytes in the stream and ${Number(group(match, 3))} at the destination.`,
      advice: [
        /\.(rom|bios)$/.test(group(match, 1))
          ? 'The firmware or option ROM files differ: install the same version on both sides.'
          : 'Use the same -m (and memory back end sizes) on both sides.',
      ],
      facts: { block: group(match, 1), stream: Number(group(match, 2)), local: Number(group(match, 3)) },
    }),
  },
  {
    pattern: /Missing section footer for ([^\s/]*\/)?(\S+)/,
    explain: (match) => {
      const section = `${group(match, 1)}${group(match, 2)}`;
      const code = 'footer';
      const meaning = `After "${section}" was read, its end was not where it should be: the two sides do not agree on how long its state is.`;
      if (group(match, 2) === 'piix4_pm')
        return {
          code,
          role: 'cause',
          meaning: `${meaning} That is a known defect of some QEMU packages with i440fx machines (qemu-kvm-6.2.0 of RHEL 8.6 to 8.9 and its kin among them), not a wrong configuration.`,
          advice: [
            'Update QEMU on the destination to a package with the fix (RHEL 8.8 and later: RHSA-2024:0569) and migrate again. If the source itself has the defect (RHEL 8.6), update both and shut each VM down and start it once.',
            'Until then migrate only between hosts of the same package.',
          ],
          facts: { section },
        };
      const isVirtio = /^(?:virtio|vhost)/.test(group(match, 2));
      return {
        code,
        role: 'cause',
        meaning,
        advice: [
          isVirtio
            ? 'Give the device the same properties on both sides: packed, num-queues, queues of the back end, vectors, PCI Express or conventional slot. The machine type has the same name on both sides (QEMU compares that first).'
            : `Compare the QEMU packages of both sides: for a device that is not virtio that mostly is a defect of one of them, so update both to the newest package of their release. Then compare its properties.`,
          'virtkit check FILE --target QEMU,device=… compares the layouts.',
        ],
        facts: { section },
      };
    },
  },
  {
    pattern: /Mismatched section id in footer for (\S+) - read (0x[0-9a-f]+) expected (0x[0-9a-f]+)/i,
    explain: (match) => ({
      code: 'footer',
      role: 'cause',
      meaning: `The end of "${group(match, 1)}" carries the number ${group(match, 2)} and should carry ${group(match, 3)}: the stream is damaged, or its state was read with another length.`,
      advice: ['Check the file: virtkit verify FILE.'],
      facts: { section: group(match, 1), read: group(match, 2), expected: group(match, 3) },
    }),
  },
  {
    pattern: /Unknown (?:savevm )?section or instance '([^']+)' (\d+)/,
    explain: (match) => {
      const [section, instance] = [group(match, 1), group(match, 2)];
      const hint = partHint(section, instance);
      return {
        code: 'section',
        role: 'cause',
        meaning: `The stream has the ${hint === undefined ? 'device' : 'part'} "${section}" (instance ${instance}), and the destination has none${hint === undefined ? ' at that place' : ''}.`,
        advice: [
          hint ??
            'Give the destination the same devices, each in the same slot (addr=, devno=, bus=), also those that were hot-plugged at the source.',
          'A device of the same kind in another slot is another device.',
        ],
        facts: { section, instance: Number(instance) },
      };
    },
  },
  {
    pattern: /(?:savevm: )?unsupported version (\d+) for '([^']+)' v(\d+)/,
    explain: (match) => ({
      code: 'section-version',
      role: 'cause',
      meaning: `"${group(match, 2)}" comes in version ${group(match, 1)}, and this QEMU reads up to ${group(match, 3)}.`,
      advice: ['Migrate to a QEMU that is not older than the source.'],
      facts: { section: group(match, 2), received: Number(group(match, 1)), local: Number(group(match, 3)) },
    }),
  },
  {
    pattern: /Machine type received is '([^']*)' and local is '([^']*)'/,
    explain: (match) => ({
      code: 'machine',
      role: 'cause',
      meaning: `The source ran machine type ${group(match, 1)}, the destination runs ${group(match, 2)}. Each machine version fixes what its devices look like.`,
      advice: [`Start the destination with -machine ${group(match, 1)}.`],
      facts: { received: group(match, 1), local: group(match, 2) },
    }),
  },
  {
    pattern: /Capability (\S+) is (\w+), but received capability is (\w+)/,
    explain: (match) => ({
      code: 'capability',
      role: 'cause',
      meaning: `The migration capability ${group(match, 1)} is ${group(match, 3)} in the stream and ${group(match, 2)} at the destination; it changes what the stream holds.`,
      advice: [
        `Set it with migrate-set-capabilities (${group(match, 1)} ${group(match, 3)}) before the load.`,
      ],
      facts: { capability: group(match, 1), local: group(match, 2), received: group(match, 3) },
    }),
  },
  {
    pattern: /Received unknown capability (\S+)/,
    explain: (match) => ({
      code: 'capability',
      role: 'cause',
      meaning: `The source used the migration capability ${group(match, 1)}, which this QEMU does not know.`,
      advice: ['Switch it off at the source, or use a newer destination.'],
      facts: { capability: group(match, 1) },
    }),
  },
  {
    pattern: /Received TARGET_PAGE_BITS is (\d+) but local is (\d+)/,
    explain: (match) => ({
      code: 'page-bits',
      role: 'cause',
      meaning: `The page sizes differ: 2^${group(match, 1)} in the stream, 2^${group(match, 2)} at the destination.`,
      advice: ['Use the same CPU and machine type on both sides.'],
      facts: { received: Number(group(match, 1)), local: Number(group(match, 2)) },
    }),
  },
  {
    pattern: /UUID received is (\S+) and local is (\S+)/,
    explain: (match) => ({
      code: 'uuid',
      role: 'cause',
      meaning: `The stream is of the VM ${group(match, 1)}, the destination is ${group(match, 2)}.`,
      advice: ['Start the destination with the same -uuid, or switch validate-uuid off.'],
      facts: { received: group(match, 1), local: group(match, 2) },
    }),
  },
  {
    pattern: /Not a migration stream/,
    explain: () => ({
      code: 'magic',
      role: 'cause',
      meaning:
        'The input does not begin with "QEVM": it is no migration stream, or something stands in front of it.',
      advice: [
        'A file of virsh save has a header in front: use virsh restore. A compressed file must be unpacked first.',
      ],
      facts: {},
    }),
  },
  {
    pattern: /Unsupported migration stream version|SaveVM v2 format is obsolete/,
    explain: () => ({
      code: 'stream-version',
      role: 'cause',
      meaning: 'The stream is not version 3, the only one that QEMU has read since 2010.',
      advice: ['Check the file: virtkit verify FILE.'],
      facts: {},
    }),
  },
  {
    pattern: /Configuration section missing/,
    explain: () => ({
      code: 'configuration',
      role: 'cause',
      meaning:
        'The stream has no configuration section; machine types up to 2.3 write none, later ones expect it.',
      advice: ['Start the destination with the machine type of the source.'],
      facts: {},
    }),
  },
  {
    pattern: /Unknown (?:savevm )?section (?:type )?(\d+)/,
    explain: (match) => ({
      code: 'section-type',
      role: 'cause',
      meaning: `Where a section should begin stands ${group(match, 1)}: the stream is damaged, or the section before it was read with another length.`,
      advice: ['Check the file: virtkit verify FILE.'],
      facts: { value: Number(group(match, 1)) },
    }),
  },
  {
    pattern: /MIG_CMD (0x[0-9a-f]+) unknown/i,
    explain: (match) => ({
      code: 'command',
      role: 'cause',
      meaning: `The source sent command ${group(match, 1)}, which this QEMU does not know.${Number(group(match, 1)) === 11 ? ' It is SWITCHOVER_START, of QEMU 10.0 and machine versions from 10.0 on.' : ''}`,
      advice: ['Use a machine version up to 9.2, or a destination that is not older than 10.0.'],
      facts: { command: Number(group(match, 1)) },
    }),
  },
  {
    pattern:
      /Unknown combination of migration flags: (0x[0-9a-f]+)|Found a zero page with value (\d+)|Unexpected RAM flags: (\S+)/i,
    explain: (match) => ({
      code: 'ram',
      role: 'cause',
      meaning:
        'A record of guest memory cannot be read: the stream is damaged, or the capabilities of the two sides differ (multifd, mapped-ram, compress, xbzrle).',
      advice: ['Set the same migration capabilities on both sides.', 'Check the file: virtkit verify FILE.'],
      facts: { value: match[1] ?? match[2] ?? match[3] ?? '' },
    }),
  },
  {
    pattern: /Expected vmdescription section, but got (\d+)/,
    explain: (match) => ({
      code: 'vmdesc',
      role: 'warning',
      meaning:
        'The description at the end of the stream is missing. The load succeeds all the same: nothing of the VM is in it.',
      advice: [],
      facts: { value: Number(group(match, 1)) },
    }),
  },
  {
    pattern: /Failed to load ([\w-]+):([\w.[\]-]+)/,
    explain: (match) => ({
      code: 'where',
      role: 'context',
      meaning: `It happened in field "${group(match, 2)}" of "${group(match, 1)}"; the line before says what.`,
      advice: [],
      facts: { vmsd: group(match, 1), field: group(match, 2) },
    }),
  },
  {
    pattern: /Failed to load element of type (\S+) for (\S+)/,
    explain: (match) => ({
      code: 'where',
      role: 'context',
      meaning: `It happened in the field "${group(match, 2)}"; the line before says what.`,
      advice: [],
      facts: { type: group(match, 1), field: group(match, 2) },
    }),
  },
  {
    pattern: /error while loading state for instance (0x[0-9a-f]+) of device '([^']+)'/i,
    explain: (match) =>
      group(match, 2) === 'ram'
        ? undefined
        : {
            code: 'where',
            role: 'context',
            meaning: `It happened in the state of "${group(match, 2)}".`,
            advice: [],
            facts: { instance: Number(group(match, 1)), section: group(match, 2) },
          },
  },
  {
    pattern: /(?:load of migration failed|error while loading state section id \d+\([^)]*\)):? ?(.*)/,
    explain: (match) =>
      /of device 'ram'/.test(match.input)
        ? undefined
        : {
            code: 'failed',
            role: 'context',
            meaning: failedMeaning(group(match, 1)),
            advice: [],
            facts: { error: group(match, 1) },
          },
  },
];

function failedMeaning(error: string): string {
  if (error.startsWith('Operation not permitted'))
    return 'The load failed. "Operation not permitted" stands for "-1" and has nothing to do with permissions; the lines before say why.';
  if (error.startsWith('No such file or directory'))
    return 'The load failed: a subsection came that this QEMU does not know (up to 10.0 it does not say which). Nothing is missing on the disk.';
  if (error.startsWith('Input/output error'))
    return 'The load failed: the stream ended too early, or the connection broke.';
  return 'The load failed; the lines before say why.';
}

/** Parts of a machine that are no device in a slot, and what decides whether they are there. */
const PARTS: ReadonlyMap<string, string> = /* @__PURE__ */ new Map(
  /* @__PURE__ */ Object.entries({
    'kvm-tpr-opt':
      'The source ran with KVM: start the destination with -accel kvm (and the same kernel_irqchip), too.',
    kvmclock:
      'The source ran with KVM and its clock: start the destination with -accel kvm and the same CPU flags (kvmclock), too.',
    apic: 'Give the destination as many virtual CPUs, those that were hot-plugged included, and the same kernel_irqchip.',
    cpu: 'Give the destination as many virtual CPUs, those that were hot-plugged included.',
    cpu_common: 'Give the destination as many virtual CPUs, those that were hot-plugged included.',
    slirp: 'Give the destination the same user network (-netdev user) as the source, or neither of them one.',
    'dirty-bitmap':
      'Switch the capability dirty-bitmaps on at both sides or off at both: the next incremental backup is a full one then.',
    'pbs-state': "Use Proxmox' QEMU on both nodes, in the same version: this part belongs to its backups.",
    s390_css:
      'Update QEMU at the destination: a machine version that has lost its channel subsystem (s390-ccw-virtio up to 9.0 in QEMU 9.1) is a defect of that QEMU. Until then migrate to one of the same version as the source.',
  }),
);

/** Says what to do about a section that is no device in a slot; undefined for one that is. */
function partHint(section: string, instance: string): string | undefined {
  const known = PARTS.get(section);
  if (known !== undefined) return known;
  if (/[/:]/.test(section)) return undefined;
  return `Compare machine type, accelerator and the devices without a slot (clocks, serial ports, TPM, memory devices) of both sides${instance === '0' ? '' : ', and how many there are of each'}; if they are the same, the QEMU versions differ in that part: update the older one.`;
}
