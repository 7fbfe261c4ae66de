import { numberOf, switchOf } from '@virtkit/core/qemu';
import type { Opts, Parsed } from './options.ts';
import type { Unplaced } from './place.ts';
import { driverOfOption, typeOf } from './qemu-types.ts';

interface Drive {
  /** Interface that the drive is attached to: `virtio`, `none`, `ide`, … */
  readonly interface: string;
  readonly id: string;
  readonly readOnly: boolean;
}

/**
 * Lists disks that `-drive` itself makes devices of: behind all that `-device` makes, but for those in JSON. QEMU:
 * `drive_new`
 */
export function driveDevices(parsed: Parsed, machine: string): Unplaced[] {
  return drivesOf(parsed, machine)
    .filter((drive) => drive.interface === 'virtio')
    .map(({ id }) => ({
      driver: typeOf(driverOfOption('drive'), parsed.arch),
      properties: new Map([['drive', id]]),
    }));
}

/** Lists ids of the drives and node names that are read-only, as devices name them in `drive=`. */
export function readOnlyDrives(parsed: Parsed, machine: string): ReadonlySet<string> {
  const drives = drivesOf(parsed, machine).filter(({ readOnly }) => readOnly);
  return new Set([...parsed.options.readOnlyNodes, ...drives.map(({ id }) => id)]);
}

function drivesOf({ options }: Parsed, machine: string): Drive[] {
  const byDefault = /^(s390|virt)/.test(machine) ? 'virtio' : 'ide';
  const taken = new TakenUnits();
  return options.group('drive').map((opts) => {
    const kind = opts.values.get('if') ?? byDefault;
    return { interface: kind, id: opts.id ?? freeId(kind, opts, taken), readOnly: isReadOnly(opts) };
  });
}

/** Finds the id of a drive that none was given to: interface and unit, `virtio0`. */
function freeId(kind: string, { values }: Opts, taken: TakenUnits): string {
  const unit = numberOf(values.get('index')) ?? numberOf(values.get('unit')) ?? taken.firstFree(kind);
  taken.add(kind, unit);
  return `${kind}${unit}`;
}

/** Sets of the units that are taken, by interface, which find the next free one in constant time. */
class TakenUnits {
  readonly #taken = new Set<string>();
  /** Numbers below which all units are taken, by interface. */
  readonly #full = new Map<string, number>();

  add(kind: string, unit: number): void {
    this.#taken.add(`${kind}${unit}`);
  }

  firstFree(kind: string): number {
    let unit = this.#full.get(kind) ?? 0;
    while (this.#taken.has(`${kind}${unit}`)) unit++;
    this.#full.set(kind, unit);
    return unit;
  }
}

function isReadOnly({ values }: Opts): boolean {
  if (values.get('media') === 'cdrom') return true;
  return switchOf(values.get('readonly') ?? values.get('read-only')) === true;
}
