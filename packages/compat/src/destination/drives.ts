import { typeOf } from './device-types.ts';
import { numberOf, switchOf } from './numbers.ts';
import type { Opts, Parsed } from './options.ts';
import type { Unplaced } from './place.ts';

interface Drive {
  /** `virtio`, `none`, `ide` … */
  readonly interface: string;
  readonly id: string;
  readonly readOnly: boolean;
}

/** Disks that `-drive` itself makes devices of: behind all that `-device` makes, but for those in JSON. QEMU: `drive_new` */
export function driveDevices(parsed: Parsed, machine: string): Unplaced[] {
  return drivesOf(parsed, machine)
    .filter((drive) => drive.interface === 'virtio')
    .map(({ id }) => ({ driver: typeOf('virtio-blk', parsed.arch), properties: new Map([['drive', id]]) }));
}

/** Names by which devices know the drives that are read-only. */
export function readOnlyDrives(parsed: Parsed, machine: string): ReadonlySet<string> {
  const drives = drivesOf(parsed, machine).filter(({ readOnly }) => readOnly);
  return new Set([...parsed.options.readOnlyNodes, ...drives.map(({ id }) => id)]);
}

function drivesOf({ options }: Parsed, machine: string): Drive[] {
  const byDefault = /^(s390|virt)/.test(machine) ? 'virtio' : 'ide';
  const taken = new Set<string>();
  return options.group('drive').map((opts) => {
    const kind = opts.values.get('if') ?? byDefault;
    return { interface: kind, id: opts.id ?? freeId(kind, opts, taken), readOnly: isReadOnly(opts) };
  });
}

/** A drive without an id is named for its place: `virtio0`. */
function freeId(kind: string, { values }: Opts, taken: Set<string>): string {
  const said = numberOf(values.get('index')) ?? numberOf(values.get('unit'));
  let unit = said ?? 0;
  while (said === undefined && taken.has(`${kind}${unit}`)) unit++;
  taken.add(`${kind}${unit}`);
  return `${kind}${unit}`;
}

function isReadOnly({ values }: Opts): boolean {
  if (values.get('media') === 'cdrom') return true;
  return switchOf(values.get('readonly') ?? values.get('read-only')) === true;
}
