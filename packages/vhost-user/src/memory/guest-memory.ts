import { overlapping, type Platform, SharedMemory } from '@virtkit/linux';
import { FrontEndError } from '../errors.ts';
import type { WireRegion } from '../wire/message.ts';

/** Largest number of regions at a time: the answer to GET_MAX_MEM_SLOTS. */
export const SLOTS_MAX = 512;
const USER_END = 2n ** 64n;

/**
 * Guest memory as a front end shows it: each region has an address in the front end as well, by which rings are named.
 */
export class FrontEndMemory extends SharedMemory<WireRegion> {
  constructor(platform: Platform) {
    super(platform, {
      regionsMax: SLOTS_MAX,
      adding: 'ADD_MEM_REG',
      check: checkUserAddress,
      isSame: (a, b) => a.userAddress === b.userAddress,
    });
  }

  /** Translates an address of the front end into the guest's; undefined: it is in no region. */
  translate(userAddress: bigint): bigint | undefined {
    for (const { userAddress: first, size, guestAddress } of this.regions)
      if (userAddress >= first && userAddress < first + size) return guestAddress + (userAddress - first);
    return undefined;
  }

  /** Removes a region. @throws FrontEndError if there is none like it */
  removeRegion({ guestAddress, size, userAddress }: WireRegion): void {
    const removed = this.remove(
      (region) =>
        region.guestAddress === guestAddress && region.size === size && region.userAddress === userAddress,
    );
    if (!removed)
      throw new FrontEndError(`REM_MEM_REG: no region of ${size} bytes at 0x${guestAddress.toString(16)}`, {
        guestAddress,
        size,
      });
  }
}

/**
 * Checks the front end's addresses of a region. @throws PeerError for addresses that go round, or overlap those of
 * another region
 */
function checkUserAddress(region: WireRegion, others: readonly WireRegion[]): void {
  const { guestAddress, size, userAddress } = region;
  if (userAddress + size > USER_END)
    throw new FrontEndError(`a region of ${size} bytes at 0x${userAddress.toString(16)} of the front end`, {
      guestAddress,
      size,
      userAddress,
    });
  const other = others.find(
    (known) => known.userAddress < userAddress + size && userAddress < known.userAddress + known.size,
  );
  if (other !== undefined) throw overlapping(region, other);
}
