import { describeDomain } from '@virtkit/libvirt';
import { askRunning } from '../ask-running.ts';
import { VirshMonitor } from '../monitor.ts';
import { UsageError } from '../usage.ts';
import { outputOf } from './program.ts';
import type { Vm } from './vm.ts';

/**
 * Lists the machines of a libvirt, running or not, as `virsh` does over its connection: it is asked for names and XML,
 * and changes nothing.
 *
 * @param ask each machine that runs is asked by its monitor what its guest has negotiated; libvirt marks it as tainted
 * (`custom-monitor`)
 * @throws UsageError with what virsh says, where there is no list
 */
export async function libvirtVms(uri: string, ask: boolean): Promise<Vm[]> {
  const virsh = (...args: readonly string[]): Promise<string> =>
    outputOf('virsh', ['--readonly', '--connect', uri, ...args]);
  let machines: readonly Domain[];
  let running: ReadonlySet<string>;
  try {
    machines = domainsIn(await virsh('list', '--all', '--uuid', '--name'));
    running = new Set(ask ? domainsIn(await virsh('list', '--uuid', '--name')).map(({ uuid }) => uuid) : []);
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
  return machines.map(({ uuid, name }) => ({
    name,
    source: uri,
    describe: async () => ({
      description: describeDomain(await virsh('dumpxml', '--domain', uuid)),
      ...(running.has(uuid) && { running: (await askRunning(new VirshMonitor(uri, uuid))).running }),
    }),
  }));
}

/** A domain in virsh's list. By its UUID it is asked for: a name that is a number is another domain's id to virsh, or another one's UUID. */
interface Domain {
  readonly uuid: string;
  readonly name: string;
}

/** Reads a list of domains. @throws UsageError for a line that is none of such a list */
function domainsIn(list: string): Domain[] {
  return list
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [, uuid, name] = /^\s*([0-9a-f-]{36})\s+(.*?)\s*$/i.exec(line) ?? [];
      if (uuid === undefined || name === undefined)
        throw new UsageError(
          `virsh list: a UUID and a name expected, not ${JSON.stringify(line.slice(0, 80))}`,
        );
      return { uuid, name };
    });
}
