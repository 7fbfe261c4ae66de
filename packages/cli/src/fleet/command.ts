import type { Answer } from '@virtkit/compat';
import { type TargetWords, targetOf } from '../check.ts';
import { colors, harmless, write } from '../output.ts';
import { UsageError } from '../usage.ts';
import { Summary } from './causes.ts';
import { checkFleet, type VmResult } from './check-fleet.ts';
import { jsonLine, junitText, prometheusText, summaryText } from './formats.ts';
import type { Vm } from './vm.ts';

/** Words of the command line about a fleet. */
export interface FleetWords extends TargetWords {
  readonly all?: boolean;
  /** Connection of libvirt. */
  readonly connect?: string;
  /** True if machines of a libvirt that run are asked by their monitors. */
  readonly ask?: boolean;
  readonly kubevirt?: boolean;
  readonly namespace?: string;
  /** False if no pod of the cluster is asked. */
  readonly exec?: boolean;
  readonly proxmox?: boolean;
  /** Number of machines that are read at the same time. */
  readonly jobs?: string;
  readonly format?: string;
  readonly json?: boolean;
}

/**
 * Default number of machines that are read at the same time: each is a program that runs, and an answer of a daemon.
 */
const JOBS = 8;
const JOBS_MAX = 64;

const asItIs = (text: string): string => text;
const PLAIN = { bold: asItIs, red: asItIs, yellow: asItIs };

/** Checks all machines of a folder, a libvirt, a cluster or a node. @returns the worst answer */
export async function checkAll(folder: string | undefined, words: FleetWords): Promise<Answer> {
  const format = words.format ?? (words.json === true ? 'json' : 'text');
  const jobs = words.jobs === undefined ? JOBS : Number(words.jobs);
  if (!Number.isInteger(jobs) || jobs < 1 || jobs > JOBS_MAX)
    throw new UsageError(`--jobs ${words.jobs}: a number from 1 to ${JOBS_MAX} expected`);
  // a target that is not understood is one mistake, and not one for each machine
  targetOf(words);
  const vms = await vmsOf(folder, words);
  const checked = await withKernel(words);
  const summary = new Summary();
  const results: VmResult[] = [];
  await checkFleet(vms, checked, jobs, async (result) => {
    summary.add(result);
    if (format === 'json') await write(jsonLine(result));
    else if (format !== 'text') results.push(result);
  });
  const { target } = words;
  if (format === 'text') await write(summaryText(summary, target, colors));
  else if (format === 'json') process.stderr.write(harmless(summaryText(summary, target, PLAIN)));
  else if (format === 'junit') await write(junitText(results, summary, target));
  else await write(prometheusText(results, summary, target));
  return summary.answer;
}

/** Adds the kernel of a cluster's nodes: where nothing else is said of the target's host, the oldest decides. */
async function withKernel(words: FleetWords): Promise<FleetWords> {
  const { kubevirt, hostKernel, host } = words;
  if (kubevirt !== true || hostKernel !== undefined || host !== undefined) return words;
  const oldest = await (await import('./kubevirt.ts')).oldestKernel();
  return oldest === undefined ? words : { ...words, hostKernel: oldest };
}

async function vmsOf(folder: string | undefined, words: FleetWords): Promise<Vm[]> {
  const { connect, kubevirt, namespace, proxmox } = words;
  const said = [folder, connect, kubevirt, proxmox].filter((each) => each !== undefined && each !== false);
  if (said.length !== 1)
    throw new UsageError('--all needs one of: a folder, --connect URI (libvirt), --kubevirt, --proxmox');
  if (folder !== undefined) return (await import('./folder.ts')).folderVms(folder);
  if (connect !== undefined)
    return await (await import('./libvirt.ts')).libvirtVms(connect, words.ask === true);
  if (kubevirt === true)
    return await (await import('./kubevirt.ts')).kubevirtVms(namespace, words.exec !== false);
  return await (await import('./proxmox.ts')).proxmoxVms();
}
