import { refusal, type Verdict } from '@virtkit/core/qemu';
import type { Destination } from '../destination/destination.ts';
import type { Target } from '../target.ts';

/** Names that `-device` takes of every type, beside its properties. */
const OF_ALL = new Set(['id', 'bus', 'driver', 'bootindex']);

/** Verdicts over the devices of a command line that the target's own program would not make: it was asked for its types and their properties. */
export function checkProgram(destination: Destination, { program }: Target): Verdict[] {
  if (program === undefined) return [];
  const { devices, path } = program;
  return destination.devices.flatMap(({ driver, properties, place }): Verdict[] => {
    const known = Object.hasOwn(devices, driver) ? devices[driver] : undefined;
    // it was not asked for this one
    if (known === undefined) return [];
    const where = `command line / ${place ?? driver}`;
    if (known === null)
      return [
        refusal('no-such-device', where, `${path} (QEMU ${program.version}) has no device type ${driver}`, {
          qemuSays: `'${driver}' is not a valid device model name`,
          advice: 'start the target with a device type that its QEMU has',
        }),
      ];
    return [...properties.keys()]
      .filter((name) => !OF_ALL.has(name) && !Object.hasOwn(known, name))
      .map((name) =>
        refusal(
          'no-such-property',
          where,
          `${driver} of ${path} (QEMU ${program.version}) has no property ${name}`,
          {
            qemuSays: `Property '${driver}.${name}' not found`,
            property: name,
            advice: `leave ${name} out at the target, if what it stands for is off at the source as well`,
          },
        ),
      );
  });
}
