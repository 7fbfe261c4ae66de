import { describeDomain } from '@virtkit/libvirt';
import { askRunning } from '../ask-running.ts';
import { VirshMonitor } from '../monitor.ts';
import { UsageError } from '../usage.ts';
import { outputOf } from './program.ts';
import type { Vm } from './vm.ts';

/**
 * The machines of a libvirt, running or not, as `virsh` lists them over its connection: it is asked for names and XML, and changes nothing.
 *
 * @param ask each machine that runs is asked by its monitor what its guest has negotiated; libvirt marks it as tainted (`custom-monitor`)
 * @throws UsageError with what virsh says, where there is no list
 */
export async function libvirtVms(uri: string, ask: boolean): Promise<Vm[]> {
  const virsh = (...args: readonly string[]): Promise<string> =>
    outputOf('virsh', ['--readonly', '--connect', uri, ...args]);
  let names: string;
  let running: ReadonlySet<string>;
  try {
    names = await virsh('list', '--all', '--name');
    running = new Set(ask ? (await virsh('list', '--name')).split('\n').map((name) => name.trim()) : []);
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
  return names
    .split('\n')
    .map((name) => name.trim())
    .filter((name) => name !== '')
    .map((name) => ({
      name,
      source: uri,
      describe: async () => ({
        description: describeDomain(await virsh('dumpxml', '--domain', name)),
        ...(running.has(name) && { running: (await askRunning(new VirshMonitor(uri, name))).running }),
      }),
    }));
}
