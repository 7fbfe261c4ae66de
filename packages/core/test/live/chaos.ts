// Random rings, half sensible, half not, and a device that does random things with them.
import type { Chain } from '../../src/contract/queue.ts';
import { AVAIL_BIT, INDIRECT, NEXT, pieces, type Rig, USED_BIT, WRITE } from './rig.ts';

/** Numbers below a limit, the same for the same seed. */
export type Random = (limit: number) => number;

export function random(seed: number): Random {
  let state = seed >>> 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) % limit;
  };
}

const pick = <T>(next: Random, list: readonly T[]): T => list[next(list.length)] as T;

/** A driver that does one thing in so many wrong. */
class Driver {
  readonly #rig: Rig;
  readonly #packed: boolean;
  readonly #next: Random;
  readonly #every: number;

  constructor(rig: Rig, packed: boolean, next: Random) {
    this.#rig = rig;
    this.#packed = packed;
    this.#next = next;
    this.#every = pick(next, [8, 60, 500]);
    const { desc, size } = rig.setup;
    for (let slot = 0; slot < size; slot++) this.#descriptor(desc, slot, size, true);
    for (let table = 0x8000; table < 0x8400; table += 0x100)
      for (let slot = 0; slot < 4; slot++) this.#descriptor(table, slot, 4, true);
  }

  #evil(): boolean {
    return this.#next(this.#every) === 0;
  }

  /** Mostly RAM; else the edge of it, ROM, nothing, or far away. */
  #address(): bigint {
    if (!this.#evil()) return BigInt(0x10000 + this.#next(0x10000));
    const strange = [0x3fff0n, 0x40000n, 0x50000n, 0x80000n, 2n ** 32n, 2n ** 53n, 2n ** 64n - 1n, 0x1000n];
    return pick(this.#next, strange);
  }

  #bytes(): number {
    return this.#evil() ? pick(this.#next, [0, 0x20000, 0xffffffff, 0x80000000, 4096]) : 1 + this.#next(300);
  }

  /** Chains go up; the upper half of a table is for the device to write. */
  #descriptor(table: number, slot: number, size: number, wrap: boolean): void {
    const [rig, next, packed] = [this.#rig, this.#next, this.#packed];
    const { desc } = rig.setup;
    let flags = slot >= size / 2 !== this.#evil() ? WRITE : 0;
    if (slot + 1 < size && next(2) === 0) flags |= NEXT;
    let [addr, bytes] = [this.#address(), this.#bytes()];
    if (table === desc && next(6) === 0) {
      flags = (flags & ~NEXT) | INDIRECT;
      addr = BigInt(0x8000 + 0x100 * next(4));
      bytes = this.#evil() ? pick(next, [17, 0, 0xfffffff0, 0x40000]) : 64;
    }
    if (!packed) {
      const to = slot + 1 + next(Math.max(1, size - slot - 1));
      rig.desc(table, slot, addr, bytes, flags, this.#evil() ? next(next(2) === 0 ? size : 0x10000) : to);
    } else rig.desc(table, slot, addr, bytes, next(0x10000), flags | (wrap ? AVAIL_BIT : USED_BIT));
  }

  act(wrap: boolean): void {
    const [rig, next] = [this.#rig, this.#next];
    const { avail, desc, used, size } = rig.setup;
    const room = ((rig.get16(avail + 2) - rig.get16(used + 2)) & 0xffff) < size;
    const what = next(12);
    if (what < 2) this.#descriptor(0x8000 + 0x100 * next(4), next(4), 4, true);
    else if (what < 5 || (this.#packed && what < 9)) this.#descriptor(desc, next(size), size, wrap);
    else if (this.#packed) {
      rig.put16(avail, next(0x10000));
      rig.put16(avail + 2, next(4));
    } else if (what < 10) {
      if (room || this.#evil()) rig.offer(this.#evil() ? next(0x10000) : next(size));
    } else if (what === 10) rig.put16(avail + 4 + 2 * size, next(64));
    else if (this.#evil()) rig.put16(avail + 2, next(0x10000));
    else rig.put16(avail, next(2));
  }
}

/** Plays so many operations; writes down all that the device saw. */
export function chaos(rig: Rig, format: 'split' | 'packed', next: Random, count: number): unknown[] {
  const queue = rig[format]();
  const driver = new Driver(rig, format === 'packed', next);
  const taken: Chain[] = [];
  const log: unknown[] = [];
  let popped: Chain | undefined;
  // a broken device is watched for a while
  for (let i = 0, broken = 0; i < count && broken < 40; i++) {
    if (rig.owner.broken) broken++;
    if (next(2) === 0) {
      driver.act(queue.indices().lastAvailWrap);
      log.push(0);
      continue;
    }
    switch (next(9)) {
      case 0:
      case 1:
      case 2: {
        popped = queue.pop();
        if (popped === undefined) break;
        taken.push(popped);
        log.push([
          popped.index,
          popped.ndescs,
          pieces(popped.out),
          pieces(popped.in),
          popped.in.total,
          popped.out.total,
        ]);
        break;
      }
      case 3:
      case 4: {
        const [chain] = taken.splice(next(taken.length + 1), 1);
        if (chain === undefined) break;
        if (chain === popped) popped = undefined;
        queue.push(chain, next(1000));
        break;
      }
      case 5:
        queue.notify();
        log.push(rig.owner.interrupts);
        break;
      case 6:
        queue.setNotification(next(2) === 0);
        break;
      case 7:
        log.push(queue.availBytes(next(2000), next(2000)), queue.isEmpty(), queue.inFlight);
        break;
      default:
        if (popped === undefined || taken.at(-1) !== popped) break;
        queue.unpop(popped);
        taken.pop();
        popped = undefined;
    }
    log.push(JSON.stringify(queue.indices()));
  }
  log.push(rig.owner.faults.map(({ reason }) => reason));
  return log;
}
