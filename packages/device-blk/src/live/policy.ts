/**
 * Policy of the device for failures of its back end, as QEMU's `rerror` and `werror`: `report` it to the driver,
 * `ignore` it and tell the driver that all is well, `stop` the machine and try again when it goes on, or stop only if
 * there was no space left (`enospc`) and report everything else.
 */
export type ErrorPolicy = 'report' | 'ignore' | 'stop' | 'enospc';

/** Action that a policy takes for one error. */
export type ErrorAction = 'report' | 'ignore' | 'stop';

/** Finds the action of a policy for an error. QEMU: `blk_get_error_action`. */
export function actionFor(policy: ErrorPolicy, code: string): ErrorAction {
  if (policy !== 'enospc') return policy;
  return code === 'ENOSPC' ? 'stop' : 'report';
}

/** Reason why the machine is to be stopped. The request stays with the device and is tried again at `resume`. */
export interface BlkStop {
  /** Number of the request queue. */
  readonly queue: number;
  /** Operation that failed. */
  readonly operation: 'read' | 'write' | 'flush' | 'discard' | 'write-zeroes' | 'secure-erase';
  /** First sector of the operation, of 512 bytes. */
  readonly sector: number;
  /** Code of the error: `EIO`, `ENOSPC`, … */
  readonly code: string;
}
