import {
  type Answer,
  answerOf,
  checkInventory,
  checkRunning,
  describedTarget,
  parseTarget,
  type Verdict,
} from '@virtkit/compat';
import { notKnown } from '@virtkit/core/qemu';
import { optionsOf, type TargetWords } from '../check.ts';
import { inventoryTarget } from '../described-target.ts';
import { registry } from '../registry.ts';
import type { Vm } from './vm.ts';

/** Result of one machine's check. */
export interface VmResult {
  readonly vm: string;
  readonly source: string;
  /** Name of the machine's type, where its description says one. */
  readonly machine?: string;
  readonly answer: Answer;
  readonly verdicts: readonly Verdict[];
}

/**
 * Checks machines against a target, so many at a time, and hands each result over as it comes: what is kept of a machine is the caller's
 * to decide. One that cannot be read is a result as any other: `unknown`, with the reason.
 *
 * @param jobs machines that are read at the same time
 */
export async function checkFleet(
  vms: readonly Vm[],
  words: TargetWords,
  jobs: number,
  take: (result: VmResult) => Promise<void> | void,
): Promise<void> {
  let next = 0;
  const work = async (): Promise<void> => {
    for (let vm = vms[next++]; vm !== undefined; vm = vms[next++]) await take(await checkVm(vm, words));
  };
  await Promise.all(Array.from({ length: Math.min(jobs, vms.length) }, work));
}

async function checkVm(vm: Vm, words: TargetWords): Promise<VmResult> {
  const { name, source } = vm;
  try {
    const { description, features, running } = await vm.describe();
    const options = optionsOf(words);
    const target =
      typeof description === 'string'
        ? parseTarget(words.target, { ...options, commandLine: description })
        : 'command' in description
          ? describedTarget(words.target, description, options)
          : inventoryTarget(words.target, description, options);
    const verdicts =
      running === undefined
        ? checkInventory(target, registry, features === undefined ? {} : { features })
        : checkRunning(running, target, registry);
    const machine = target.destination?.machine;
    return {
      ...{ vm: name, source, answer: answerOf(verdicts), verdicts },
      ...(machine !== undefined && { machine }),
    };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const verdict = notKnown('not-read', 'description', reason, {
      advice: 'see that its description can be read, or check a stream of it',
    });
    return { vm: name, source, answer: 'unknown', verdicts: [verdict] };
  }
}
