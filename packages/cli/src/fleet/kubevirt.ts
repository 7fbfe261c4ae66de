import { describeDomain } from '@virtkit/libvirt';
import { UsageError } from '../usage.ts';
import { outputOf } from './program.ts';
import type { Vm } from './vm.ts';

/** The container of a launcher pod in which libvirt runs. */
const CONTAINER = 'compute';
/** The label by which KubeVirt finds the pod of a machine. */
const CREATED_BY = 'kubevirt.io/created-by';

/**
 * The machines that run in a cluster, by `kubectl` and its current context: the list of VirtualMachineInstances, their launcher pods, and
 * in each of these `virsh dumpxml`. It is read only; `pods/exec` has to be allowed.
 *
 * @param namespace default: all
 * @throws UsageError with what kubectl says, where there is no list
 */
export async function kubevirtVms(namespace: string | undefined): Promise<Vm[]> {
  const where = namespace === undefined ? ['--all-namespaces'] : ['--namespace', namespace];
  let lists: readonly [string, string];
  try {
    lists = await Promise.all([
      outputOf('kubectl', ['get', 'virtualmachineinstances.kubevirt.io', ...where, '-o', 'json']),
      outputOf('kubectl', ['get', 'pods', ...where, '-l', 'kubevirt.io=virt-launcher', '-o', 'json']),
    ]);
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
  const pods = new Map<string, Item>();
  for (const pod of itemsOf(lists[1])) {
    const owner = pod.metadata?.labels?.[CREATED_BY];
    // of a machine that moves there are two: the one that runs is asked
    if (owner !== undefined && (pod.status?.phase === 'Running' || !pods.has(owner))) pods.set(owner, pod);
  }
  return itemsOf(lists[0]).map(({ metadata }) => {
    const { name = '', namespace: space = '', uid = '' } = metadata ?? {};
    return {
      name,
      source: space,
      describe: async () => {
        const pod = pods.get(uid)?.metadata?.name;
        if (pod === undefined) throw new Error('it has no launcher pod: it does not run');
        const inside = ['exec', '--namespace', space, pod, '--container', CONTAINER, '--'];
        return {
          description: describeDomain(await outputOf('kubectl', [...inside, 'virsh', 'dumpxml', '1'])),
        };
      },
    };
  });
}

/** What is looked at of an object of Kubernetes. */
interface Item {
  readonly metadata?: {
    readonly name?: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly status?: { readonly phase?: string };
}

function itemsOf(json: string): readonly Item[] {
  const { items } = JSON.parse(json) as { readonly items?: unknown };
  if (!Array.isArray(items)) throw new UsageError('kubectl get: the answer is no list');
  return items as readonly Item[];
}
