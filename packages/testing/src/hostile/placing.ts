import type { RingAddresses } from '../ring/ring.ts';
import type { Random } from '../suite/case.ts';
import type { DriverTransport } from '../transport/transport.ts';
import { address, type Target } from './values.ts';

/** Wraps a driver's transport, with another hand at what the device is told about rings. */
export function watched(
  transport: DriverTransport,
  place: (queue: number, ring: RingAddresses) => RingAddresses,
): DriverTransport {
  return new Proxy(transport, {
    get: (target, key) => {
      if (key === 'enableQueue')
        return (queue: number, ring: RingAddresses) => target.enableQueue(queue, place(queue, ring));
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

const PARTS = ['desc', 'driver', 'device'] as const;

/**
 * Places a ring with a part, or more, where it cannot be: ROM, nowhere, across the end of memory, in another part, at
 * an odd address.
 */
export function misplace(ring: RingAddresses, random: Random, target: Target): RingAddresses {
  const told: { -readonly [K in keyof RingAddresses]: number } = { ...ring };
  do {
    const part = random.pick(PARTS);
    switch (random.below(4)) {
      case 0:
        told[part] = ring[random.pick(PARTS)];
        break;
      case 1:
        told[part] = ring[part] + 1 + random.below(15);
        break;
      case 2:
        told[part] = target.end - random.below(16 * ring.size);
        break;
      default:
        told[part] = address(random, target);
    }
  } while (random.chance(2));
  if (random.chance(8)) told.size = random.below(2 * ring.size);
  return told;
}
