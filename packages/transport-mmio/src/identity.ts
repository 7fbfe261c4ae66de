import { type Report, reportError, type TransportIdentity, type VirtioState } from '@virtkit/core/live';
import { PAGE_SHIFT_MAX } from './limits.ts';
import type { MmioParts } from './state.ts';

/** Name and rules of virtio over MMIO, without the format of its state. */
export const mmioIdentity: TransportIdentity<MmioParts> = {
  contract: 1,
  name: 'mmio',
  hasVariableVringAlignment: true,
  check,
};

function check(state: VirtioState<MmioParts>, report: Report): void {
  const { hostFeaturesSel, guestFeaturesSel, guestPageShift } = state.transport;
  for (const [key, value, limit] of [
    ['hostFeaturesSel', hostFeaturesSel, 1],
    ['guestFeaturesSel', guestFeaturesSel, 1],
    ['guestPageShift', guestPageShift, PAGE_SHIFT_MAX],
  ] as const) {
    if (value > limit) {
      reportError(report, 'range', `transport.${key}`, `${value}, at most ${limit} expected`, {
        value,
        limit,
      });
    }
  }
}
