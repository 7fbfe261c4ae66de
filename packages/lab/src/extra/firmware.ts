import { delay } from '../qmp.ts';
import { bare, type Extra } from './case.ts';
import { CCW_PAIR, DISK, MMIO_PAIR } from './parts.ts';

const seconds = (n: number) => async (): Promise<void> => delay(n * 1000);

/** Devices whose last driver was a firmware. */
export const firmware: readonly Extra[] = [
  bare('s390-fw', 's390x', ['7.2', '11.1'], 'the s390 boot firmware has read an empty disk', {
    machine: 's390-ccw-virtio',
    files: DISK,
    args: [...CCW_PAIR, '-boot', 'order=c', '-action', 'panic=pause'],
    state: 'firmware only, no kernel',
    run: seconds(4),
  }),
  bare('microvm-fw', 'x86_64', ['11.1'], 'SeaBIOS for microvm has read the disk by virtio-mmio', {
    machine: 'microvm,pit=on,pic=on,rtc=on',
    files: DISK,
    args: MMIO_PAIR,
    state: 'firmware only, no kernel',
    run: seconds(4),
  }),
];
