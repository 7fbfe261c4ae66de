import { compareVersion } from '@virtkit/core/qemu';
import { describeDomain, describeVmi, type MachineOutline } from '@virtkit/libvirt';
import { UsageError } from '../usage.ts';
import { outputOf } from './program.ts';
import type { Vm } from './vm.ts';

/** Name of the container of a launcher pod in which libvirt runs. */
const CONTAINER = 'compute';
/** Name of the label by which KubeVirt finds the pod of a machine. */
const CREATED_BY = 'kubevirt.io/created-by';

/**
 * Lists the machines that run in a cluster, by `kubectl` and its current context: the list of VirtualMachineInstances,
 * their launcher pods, and in each of these `virsh dumpxml`. It is read only; `pods/exec` has to be allowed.
 *
 * @param namespace default: all
 * @param exec false: no pod is asked, and a machine's devices are those of its VirtualMachineInstance
 * @throws UsageError with what kubectl says, where there is no list
 */
export async function kubevirtVms(namespace: string | undefined, exec: boolean): Promise<Vm[]> {
  const where = namespace === undefined ? ['--all-namespaces'] : ['--namespace', namespace];
  const machines = await listOf('virtualmachineinstances.kubevirt.io', ...where);
  const pods = exec
    ? podsByOwner(await listOf('pods', ...where, '-l', 'kubevirt.io=virt-launcher'))
    : undefined;
  return machines.map((machine) => {
    const { name = '', namespace: space = '', uid = '' } = machine.metadata ?? {};
    return {
      name,
      source: space,
      describe: async () => {
        if (pods === undefined) return { description: outlineOf(machine) };
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

/** Finds the oldest kernel of a cluster's nodes: a machine may move to any of them. Undefined where no node tells. */
export async function oldestKernel(): Promise<string | undefined> {
  const kernels = (await listOf('nodes')).flatMap(({ status }) => status?.nodeInfo?.kernelVersion ?? []);
  const version = (release: string): string => /^\d+\.\d+/.exec(release)?.[0] ?? '0.0';
  return kernels.sort((a, b) => compareVersion(version(a), version(b)))[0];
}

async function listOf(...what: readonly string[]): Promise<readonly Item[]> {
  let answer: unknown;
  try {
    answer = JSON.parse(await outputOf('kubectl', ['get', ...what, '-o', 'json']));
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
  const items = typeof answer === 'object' && answer !== null && 'items' in answer ? answer.items : undefined;
  if (!Array.isArray(items)) throw new UsageError('kubectl get: the answer is no list');
  return items as readonly Item[];
}

function podsByOwner(pods: readonly Item[]): ReadonlyMap<string, Item> {
  const found = new Map<string, Item>();
  for (const pod of pods) {
    const owner = pod.metadata?.labels?.[CREATED_BY];
    // of a machine that moves there are two: the one that runs is asked
    if (owner !== undefined && (pod.status?.phase === 'Running' || !found.has(owner))) found.set(owner, pod);
  }
  return found;
}

/** @throws Error where it does not say which machine type it runs */
function outlineOf(machine: Item): MachineOutline {
  const outline = describeVmi(JSON.stringify({ kind: 'VirtualMachineInstance', ...machine }));
  if (outline.machine === undefined)
    throw new Error('it does not say which machine type it runs: it does not run');
  return outline;
}

/** Part of an object of Kubernetes that is looked at. */
interface Item {
  readonly metadata?: {
    readonly name?: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly status?: {
    readonly phase?: string;
    readonly nodeInfo?: { readonly kernelVersion?: string };
  };
}
