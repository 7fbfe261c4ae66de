import { type Extra, guest } from './case.ts';

/** Machine types of old versions, whose saved states lack parts. */
export const oldMachines: readonly Extra[] = [
  ...(
    [
      ['2.3', 'no configuration section, no section footers, no extra_state, legacy only'],
      ['2.4', 'migrate-extra off: no virtio/extra_state'],
      ['2.6', 'disable-modern: no virtqueues subsection, empty extra_state'],
      ['4.0', 'use-started off: no virtio/started'],
      ['4.1', 'no FLR capability'],
      ['6.0', 'machine type between'],
    ] as const
  ).map(([version, what]) =>
    guest(`pc${version.replace('.', '')}-io`, 'x86_64', ['7.2'], `machine type ${version}: ${what}`, {
      machine: `pc-i440fx-${version}`,
    }),
  ),
  guest(
    'q3524-rootport-io',
    'x86_64',
    ['7.2'],
    'machine type q35 2.4: x-disable-pcie, devices behind a root port, legacy',
    {
      machine: 'pc-q35-2.4',
      args: ['-device', 'ioh3420,id=rp1,chassis=1,slot=1,addr=4'],
      blk: 'bus=rp1',
    },
  ),
  guest('q3542-io', 'x86_64', ['7.2'], 'machine type q35 4.2: use-disabled-flag off', {
    machine: 'pc-q35-4.2',
  }),
  guest(
    's39024-io',
    's390x',
    ['7.2'],
    'machine type 2.4: max_revision 0, names without a device path, no s390_css section',
    { machine: 's390-ccw-virtio-2.4', args: ['-cpu', 'max'] },
  ),
  guest('s39029-io', 's390x', ['7.2'], 'machine type 2.9: css migration off', {
    machine: 's390-ccw-virtio-2.9',
    args: ['-cpu', 'max'],
  }),
  guest('s39042-io', 's390x', ['7.2'], 'machine type 4.2', { machine: 's390-ccw-virtio-4.2' }),
];
