// Tables of what virtkit knows of QEMU's versions, machine types, distributions and features: those that `check` goes by.
import { DISTRIBUTION_MACHINES, deviceTypes, RELEASES, VERSIONS } from '@virtkit/compat';
import { DEFAULT_CHANGED } from '@virtkit/core/qemu';
import { code, plain, table } from '../table.ts';

/** The tables by name: `versions`, `releases`, `features TYPE`, `defaults`, `distribution-machines`. */
export function compatibility(name: string): string {
  const [what, type] = name.split(' ');
  if (what === 'versions') return versions();
  if (what === 'releases') return releases();
  if (what === 'defaults') return defaults();
  if (what === 'distribution-machines') return distributionMachines();
  if (what === 'features' && type !== undefined) return features(type);
  if (what === 'device-types') return types();
  throw new Error(`there is no table “${name}” of compatibility`);
}

const range = ([oldest, newest]: readonly [string, string]): string => `${oldest} to ${newest}`;
const yes = (is: boolean): string => (is ? 'yes' : '');

function versions(): string {
  return table(
    [
      'QEMU from',
      '`pc-i440fx-`',
      '`pc-q35-`',
      '`s390-ccw-virtio-`',
      'features above bit 63',
      'refuses rings larger than made',
      'knows SWITCHOVER_START',
    ],
    VERSIONS.map(({ name, machines, features128, checksRingSize, switchoverStart }) => [
      name,
      range(machines.pc),
      range(machines.q35),
      range(machines.s390x),
      yes(features128),
      yes(checksRingSize),
      yes(switchoverStart),
    ]),
  );
}

function releases(): string {
  return table(
    ['`--target`', 'QEMU', 'package', 'machine types', 'its own, from and to', 'kernel', 'read from'],
    RELEASES.map((release) => [
      code(release.name),
      release.qemu,
      code(release.package),
      release.machines === 'QEMU' ? 'QEMU’s' : `${release.machines}’s`,
      Object.entries(release.own)
        .map(
          ([family, [oldest, newest]]) =>
            `${family}: ${oldest === newest ? newest : `${oldest} to ${newest}`}`,
        )
        .join('; '),
      release.kernel ?? '',
      plain(release.source),
    ]),
  );
}

function distributionMachines(): string {
  return table(
    ['machine type', 'as QEMU’s', 'but for'],
    DISTRIBUTION_MACHINES.map(({ name, upstream, differences }) => [
      code(name),
      code(upstream ?? 'not known'),
      differences
        .map(({ property, value, since }) => {
          const where = (since ?? []).map(({ dist, package: from }) => `${dist}: ${from}`).join(', ');
          return `\`${property}=${value}\`${where === '' ? '' : ` (from ${where})`}`;
        })
        .join(', '),
    ]),
  );
}

function defaults(): string {
  return table(
    ['property', 'default changed with machine version'],
    Object.entries(DEFAULT_CHANGED).map(([property, version]) => [code(property), version]),
  );
}

function types(): string {
  return table(
    ['device type', 'live device', 'features of its own'],
    deviceTypes.map(({ layer, live }) => [
      code(layer.name),
      live === undefined ? '' : 'yes',
      String(Object.keys(layer.features).length),
    ]),
  );
}

function features(type: string): string {
  const found = deviceTypes.find(({ layer }) => layer.name === type);
  if (found === undefined) throw new Error(`there is no device type ${type}`);
  return table(
    ['bit', 'feature', 'property of QEMU', 'on since machine', 'since QEMU', 'needs', 'defined in'],
    Object.entries(found.features).map(
      ([bit, { property, machine, qemu, needs, kernel, offByDefault, spec }]) => [
        bit,
        code(found.layer.features[Number(bit)] ?? `bit ${bit}`),
        code(property ?? ''),
        offByDefault === true ? 'off unless switched on' : (machine ?? ''),
        qemu ?? '',
        plain(
          [needs, kernel === undefined ? undefined : `Linux ${kernel} at the host's tap`]
            .filter((each) => each !== undefined)
            .join('; '),
        ),
        plain(spec),
      ],
    ),
  );
}
