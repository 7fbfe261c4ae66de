import { type DeviceType, type Making, notKnown, numberOf, refusal, type Verdict } from '@virtkit/core/qemu';
import { hex } from '@virtkit/vmstate';
import { isLookedAtIn } from '../destination/known-properties.ts';
import { badConfig } from '../qemu-says.ts';
import type { Target } from '../target.ts';

/** Verdicts over properties of the target's device whose part in a load is not known: with one, the answer is not `loads`. */
export function checkProperties(
  title: string,
  type: DeviceType | undefined,
  types: readonly DeviceType[],
  { device }: Making,
  asked: Target,
): Verdict[] {
  const { driver, properties } = device;
  // what is said of the whole target may be meant for others
  const own = [...properties.keys()].filter((property) => !asked.properties.has(property));
  return own
    .filter((property) => !isLookedAtIn(type, types, property))
    .map((property) =>
      notKnown(
        'property',
        title,
        `the target's ${driver} has ${property}=${properties.get(property)}, and virtkit does not know what that means for a load`,
        {
          property,
          advice:
            'give the target the value that the source had, or ask QEMU itself (virtkit check --qemu BINARY)',
        },
      ),
    );
}

/** Verdict over the class code of the function, where the command line sets it. */
export function checkClass(
  title: string,
  config: Uint8Array,
  { device: { driver, properties } }: Making,
): Verdict[] {
  const said = numberOf(properties.get('class'));
  const here = (config[CLASS + 1] ?? 0) | ((config[CLASS + 2] ?? 0) << 8);
  if (said === undefined || said === 0 || said === here) return [];
  const at = (said & 0xff) === (here & 0xff) ? CLASS + 2 : CLASS + 1;
  const byte = (word: number): string => ((word >> (8 * (at - CLASS - 1))) & 0xff).toString(16);
  return [
    refusal(
      'config-space',
      `${title} / transport.config[${hex(at)}]`,
      `class ${hex(here)} in the stream, and ${hex(said)} in the target's ${driver}`,
      {
        qemuSays: badConfig(at, byte(here), byte(said)),
        property: 'class',
        advice: 'give the target the class that the source had',
      },
    ),
  ];
}

/** Offset of the class code in configuration space: interface, then the two bytes of the class. */
const CLASS = 0x09;
