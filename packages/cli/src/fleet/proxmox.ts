import { UsageError } from '../usage.ts';
import { outputOf } from './program.ts';
import type { Vm } from './vm.ts';

/**
 * Lists the machines of the Proxmox node on which this runs: `pvesh` names them, and `qm showcmd` says how the node
 * starts each. On a cluster each node answers for its own.
 *
 * @throws UsageError with what pvesh says, where there is no list
 */
export async function proxmoxVms(): Promise<Vm[]> {
  let list: unknown;
  try {
    list = JSON.parse(await outputOf('pvesh', ['get', '/nodes/localhost/qemu', '--output-format', 'json']));
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
  if (!Array.isArray(list)) throw new UsageError('pvesh get: the answer is no list');
  return (list as readonly { readonly vmid?: unknown; readonly name?: unknown }[]).map(({ vmid, name }) => {
    const id = String(vmid);
    return {
      name: typeof name === 'string' ? `${id} (${name})` : id,
      source: 'this node',
      describe: async () => ({ description: await outputOf('qm', ['showcmd', id]) }),
    };
  });
}
