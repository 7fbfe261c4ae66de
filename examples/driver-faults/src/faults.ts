/** What becomes of eight writes and eight reads on a disk. `HANGS`: they never end, and nothing but a new machine helps. */
export type Outcome = 'FINE' | 'WRITE-ERROR' | 'DIFFERENT' | 'WOKEN' | 'HANGS';

/** A disk that misbehaves, and what the driver is expected to make of it. */
export interface DriverTest {
  /** Serial number of the disk, by which the guest knows it. */
  readonly name: string;
  /** The language of `@virtkit/testing/faults`. */
  readonly faults: string;
  /** What Linux 6.1 makes of it. Where a driver does better, this is the line to change. */
  readonly expected: Outcome;
}

/** Writes are counted and reads are not, since Linux reads a new disk's partition table. */
export const TESTS: readonly DriverTest[] = [
  { name: 'late', faults: 'delay=20..200ms; seed=7', expected: 'FINE' },
  { name: 'reordered', faults: 'reorder=4', expected: 'FINE' },
  { name: 'wrong-length', faults: 'length=1', expected: 'FINE' },
  { name: 'write-error', faults: 'error:write@3', expected: 'WRITE-ERROR' },
  { name: 'torn', faults: 'torn=512:write@3', expected: 'DIFFERENT' },
  { name: 'flipped', faults: 'flip', expected: 'DIFFERENT' },
  { name: 'lost-interrupt', faults: 'lost-interrupt:write@3', expected: 'WOKEN' },
  { name: 'unanswered', faults: 'never:write@3', expected: 'HANGS' },
  { name: 'needs-reset', faults: 'needs-reset:write@3', expected: 'HANGS' },
  { name: 'bad-id', faults: 'bad-id:write@3', expected: 'HANGS' },
];
