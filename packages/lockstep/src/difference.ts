import { describeOperation, type Operation } from './operation.ts';

/** QEMU and we are not of one mind. */
export interface Difference {
  /** `read`, `level`, `memory`, `disk`, … */
  readonly kind: 'read' | 'level' | 'memory' | 'disk' | 'state' | 'answer';
  /** Index of the operation behind which it was seen. */
  readonly at: number;
  readonly qemu: string;
  readonly ours: string;
  readonly where?: string;
}

/** One line: what differs. */
export function describeDifference({ kind, at, qemu, ours, where }: Difference): string {
  return `${kind}${where === undefined ? '' : ` ${where}`} behind operation ${at}: QEMU ${qemu}, ours ${ours}`;
}

/** The operations as a table, and what came of them. */
export function tabulate(operations: readonly Operation[], difference: Difference): string {
  const lines = operations.map((operation, i) => `${String(i).padStart(6)}  ${describeOperation(operation)}`);
  return [...lines, describeDifference(difference)].join('\n');
}
