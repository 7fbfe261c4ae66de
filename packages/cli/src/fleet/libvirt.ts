import { describeDomain } from '@virtkit/libvirt';
import { UsageError } from '../usage.ts';
import { outputOf } from './program.ts';
import type { Vm } from './vm.ts';

/**
 * The machines of a libvirt, running or not, as `virsh` lists them over its connection: it is asked for names and XML, and changes nothing.
 * @throws UsageError with what virsh says, where there is no list
 */
export async function libvirtVms(uri: string): Promise<Vm[]> {
  const virsh = (...args: readonly string[]): Promise<string> =>
    outputOf('virsh', ['--readonly', '--connect', uri, ...args]);
  let names: string;
  try {
    names = await virsh('list', '--all', '--name');
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
      describe: async () => ({ description: describeDomain(await virsh('dumpxml', '--domain', name)) }),
    }));
}
