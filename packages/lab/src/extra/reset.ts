import { bare, type Extra } from './case.ts';
import { CCW_PAIR, DISK, NEW, PCI_PAIR, QBOOT } from './parts.ts';

/** Devices that no driver has touched. */
export const reset: readonly Extra[] = [
  ...['q35', 'pc'].map((machine) =>
    bare(`${machine}-reset`, 'x86_64', NEW, `reset state, default blk and net, ${machine}`, {
      machine,
      files: DISK,
      args: [...QBOOT, ...PCI_PAIR],
    }),
  ),
  bare('s390-reset', 's390x', NEW, 'reset state, default blk and net, ccw', {
    machine: 's390-ccw-virtio',
    files: DISK,
    args: CCW_PAIR,
  }),
];
