// Known attacks on QEMU's loading of other devices, against ours. `pnpm cves` lists them all.
import { describe, expect, test } from 'vitest';
import { gpu } from '../src/index.ts';

const be32 = (...numbers: readonly number[]): number[] =>
  numbers.flatMap((n) => [n >>> 24, (n >>> 16) & 0xff, (n >>> 8) & 0xff, n & 0xff]);

/** One resource, and what QEMU writes behind it: no outputs. */
function gpuWith(width: number, height: number, pieces: number, picture: number, outputs = 0): Uint8Array {
  return Uint8Array.from([
    ...be32(1, width, height, 1, pieces),
    ...Array<number>(picture).fill(0x11),
    ...be32(0, 1, outputs),
  ]);
}

describe('a GPU', () => {
  test('with a picture of two pixels is read', () => {
    expect(gpu.describeRest?.(gpuWith(2, 1, 0, 8))).toMatchObject({ resources: [{ imageBytes: 8 }] });
  });

  test.each([
    ['CVE-2026-3886', 'a picture whose size overflows to that of a small one', gpuWith(0x8000_0001, 2, 0, 8)],
    ['CVE-2026-3886', 'a picture of the largest size', gpuWith(0xffff_ffff, 0xffff_ffff, 0, 8)],
    ['no number', 'more pieces of memory than there are bytes', gpuWith(2, 1, 0xffff_ffff, 8)],
    ['no number', 'a picture that is cut off', gpuWith(2, 1, 0, 8).subarray(0, 24)],
    ['no number', 'more outputs than there are bytes', gpuWith(2, 1, 0, 8, 0xffff_ffff)],
  ])('%s: %s is told as bytes', (_cve, _what, bytes) => {
    expect(gpu.describeRest?.(bytes)).toBeUndefined();
  });
});
