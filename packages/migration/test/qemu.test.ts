import { captureRunningGuest, findLab, type GuestArch } from '@virtkit/lab';
import { describe, expect, test } from 'vitest';
import { titleOf } from '../src/index.ts';
import { decodeDevices } from './registry.ts';
import { firstDifference, reencode, rewriteStream } from './roundtrip.ts';
import { compareWithTruth } from './truth.ts';

const GUESTS: readonly { readonly arch: GuestArch }[] = [{ arch: 'x86_64' }, { arch: 's390x' }];
const TIMEOUT_MS = 240_000;

describe.each(GUESTS)('the QEMU of this machine, $arch', ({ arch }) => {
  test('a fresh stream of a guest with I/O says what QEMU said', { timeout: TIMEOUT_MS }, async (context) => {
    const lab = findLab(arch);
    if (!lab.ok) {
      console.warn(`SKIPPED: no ${arch} guest: ${lab.reason}`);
      return context.skip(lab.reason);
    }
    const { stream, info } = await captureRunningGuest({ arch, binary: lab.binary });
    expect(rewriteStream(stream)).toEqual({ difference: -1, complete: true });
    const devices = decodeDevices(stream);
    expect(devices.map(({ device }) => device.name).sort()).toEqual(['virtio-blk', 'virtio-net']);
    for (const decoded of devices) {
      const { body } = decoded.device.section;
      const { fromState, fromJson } = reencode(decoded);
      expect(firstDifference(fromState, body), titleOf(decoded.device)).toBe(-1);
      expect(firstDifference(fromJson, body), `${titleOf(decoded.device)} by JSON`).toBe(-1);
    }
    if (info.truth.virtio.length === 0)
      console.warn(`SKIPPED: the comparison: QEMU ${info.qemu_version} has no x-query-virtio`);
    else expect(compareWithTruth(devices, info)).toEqual([]);
  });
});
