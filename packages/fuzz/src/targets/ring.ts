import { InputRandom } from '../input-random.ts';
import { playRing } from '../ring-guest.ts';
import type { FuzzTarget } from '../target.ts';

const LENGTH_MAX = 1024;

/** Both formats: the first byte chooses format and features. */
export const ring: FuzzTarget = {
  name: 'ring',
  about: 'split and packed rings under a guest that writes anything, and a device that keeps to the contract',
  lengthMax: LENGTH_MAX,
  run: (input) => {
    const random = new InputRandom(input);
    playRing(random, Math.ceil(input.length / 4));
  },
  seeds: function* seeds() {
    for (let features = 0; features < 64; features++)
      yield Uint8Array.from({ length: 256 }, (_, i) =>
        i === 0 ? features : (i * 37 + features * 11) & 0xff,
      );
  },
};
