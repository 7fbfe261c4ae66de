import { type HostFacts, parseHostFacts } from '@virtkit/compat';
import { isStateError } from '@virtkit/vmstate';
import { readSmall } from './files.ts';
import { UsageError } from './usage.ts';

/**
 * Length in bytes of the largest file that `--host` may name. A QEMU with all of its machine types takes about 1 MiB.
 */
const HOST_BYTES = 2 ** 24;

/**
 * Reads the facts of a host. @throws UsageError for a file that cannot be read, is too large, or is none that `virtkit
 * host` wrote
 */
export function readHost(path: string): HostFacts {
  try {
    return parseHostFacts(readSmall(path, HOST_BYTES).toString('utf8'));
  } catch (error) {
    throw isStateError(error) ? new UsageError(`--host ${path}: ${error.message}`) : error;
  }
}
