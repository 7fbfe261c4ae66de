// Whole devices under a hostile guest: registers, channel programs, rings, requests, and moves.
import { HOSTILE, type HostileTarget } from '../../../testing/test/hostile-targets.ts';
import { InputRandom } from '../input-random.ts';
import type { FuzzTarget } from '../target.ts';

const LENGTH_MAX = 2048;
/** An operation takes about so many bytes of input. */
const BYTES_PER_OPERATION = 6;
const SEED = 1;

function guest(name: string, about: string, wanted: (target: HostileTarget) => boolean): FuzzTarget {
  const targets = HOSTILE.filter(wanted);
  return {
    name,
    about,
    lengthMax: LENGTH_MAX,
    run: async (input) => {
      const target = targets[(input[0] ?? 0) % targets.length];
      const random = new InputRandom(input.subarray(1));
      await target?.run(Math.ceil(input.length / BYTES_PER_OPERATION), SEED, { random });
    },
    seeds: function* seeds() {
      for (let i = 0; i < targets.length; i++)
        yield Uint8Array.from({ length: 300 }, (_, at) => (at === 0 ? i : (at * 73 + i * 29) & 0xff));
    },
  };
}

const has =
  (transport: string, device = '') =>
  ({ name }: HostileTarget): boolean =>
    name.startsWith(transport) && name.includes(device);

export const guests: readonly FuzzTarget[] = [
  guest('guest-pci', 'PCI functions: configuration space, BARs, rings, requests', has('pci')),
  guest('guest-ccw', 'channel I/O: subchannels, channel programs, indicators', has('ccw')),
  guest('guest-mmio', 'MMIO slots, legacy and modern', has('mmio')),
];
