import { existsSync, readFileSync, statSync } from 'node:fs';
import {
  type Answer,
  answerOf,
  askedDestination,
  askingCommand,
  checkRunning,
  checkStream,
  describedTarget,
  outlinedTarget,
  parseTarget,
  type Target,
  type TargetOptions,
  unreadable,
  type Verdict,
} from '@virtkit/compat';
import { notKnown, remark } from '@virtkit/core/qemu';
import { describeDomain, describeQm, describeVmi, isShownCommand } from '@virtkit/libvirt';
import type { MigrationStream } from '@virtkit/migration';
import { readDescription, savedDescription } from './described-target.ts';
import { readSmall } from './files.ts';
import { readHost } from './host-file.ts';
import { colors as pc, textOf } from './output.ts';
import type { Read } from './read.ts';
import { registry } from './registry.ts';
import { UsageError } from './usage.ts';

/** Text that `virtkit check` prints, and the answer that it comes to. */
export interface Checked {
  readonly text: string;
  readonly answer: Answer;
}

/** Words of the command line about the target. */
export interface TargetWords {
  readonly target: string;
  /** Properties of devices in QEMU's words. */
  readonly device?: readonly string[];
  /** Command line of a QEMU, or the name of a file that holds it. */
  readonly args?: string;
  /** Number of the start in that file; the first is 1. */
  readonly start?: string;
  /** Name of the target's program, which is asked what it makes of that command line. */
  readonly qemu?: string;
  /** Release of the Linux on the target's host. */
  readonly hostKernel?: string;
  /** Name of a file that `virtkit host` wrote on the target. */
  readonly host?: string;
  /** Names of files with a domain's XML; one that is no file is the name of a domain that runs. */
  readonly domain?: readonly string[];
  /** Name of a file with KubeVirt's VirtualMachineInstance. */
  readonly vmi?: string;
  /** Name of a file with a configuration of Proxmox, or what `qm showcmd` prints. */
  readonly qm?: string;
  /** Name of the QMP socket of a QEMU that runs. */
  readonly qmp?: string;
  /** Connection of the libvirt that is asked for a domain by its name. */
  readonly connect?: string;
}

/** Facts about the target that are known before the stream is read. */
interface Prepared {
  readonly target: Target;
  /** Command line of the destination, or what stands for it; undefined: none is known. */
  readonly commandLine: string | readonly string[] | undefined;
}

/** Length in bytes of the largest file that `-readconfig` of a command line may name. */
const CONFIG_BYTES = 2 ** 20;

/**
 * Makes the target of the command line's words. @throws StateError `target`, UsageError for a file that cannot be read
 */
export function targetOf(words: TargetWords): Target {
  return prepared(words).target;
}

/**
 * Sees to it that `--domain` names files alone, as it must with a stream. @throws UsageError for one that is not there
 */
export function demandFiles({ domain = [], qmp }: Pick<TargetWords, 'domain' | 'qmp'>): void {
  const missing = domain.find((each) => !existsSync(each));
  if (missing !== undefined)
    throw new UsageError(
      `--domain ${missing}: no such file (the name of a running domain is for a check without a stream)`,
    );
  if (qmp !== undefined) throw new UsageError('--qmp is for a check without a stream');
  if (domain.length > 1) throw new UsageError('--domain is given twice');
}

/** Target for one stream, and what is to be said of how it was found. */
interface TargetFor {
  readonly target: Target;
  readonly verdicts: readonly Verdict[];
}

/**
 * Finds the target; where nothing says which devices it has, those of the machine in the header of a save file of
 * libvirt.
 */
export function targetFor(stream: MigrationStream, words: TargetWords, target = targetOf(words)): TargetFor {
  const { description, problem } = target.destination === undefined ? savedDescription(stream) : {};
  if (description !== undefined)
    return { target: describedTarget(words.target, description, optionsOf(words)), verdicts: [] };
  const verdicts: Verdict[] =
    problem === undefined
      ? []
      : [
          notKnown(
            'not-understood',
            'libvirt header',
            `the XML of the domain in the save file is not understood: ${problem}`,
            {
              advice: 'say what the target is: --domain FILE.xml (of virsh dumpxml) or --args',
            },
          ),
        ];
  return { target, verdicts };
}

/** Collects what else is known of a target. @throws UsageError for values that are none */
export function optionsOf({ device = [], start, host, hostKernel }: TargetWords): TargetOptions {
  if (start !== undefined && !/^[1-9]\d{0,8}$/.test(start))
    throw new UsageError(`--start ${start}: a number from 1 on expected`);
  return {
    devices: device,
    readConfig,
    ...(start !== undefined && { start: Number(start) }),
    ...(hostKernel !== undefined && { hostKernel }),
    ...(host !== undefined && { host: readHost(host) }),
  };
}

function prepared(words: TargetWords): Prepared {
  const options = optionsOf(words);
  const { args, target } = words;
  const { vmi, qm } = words;
  const domain = words.domain?.find((each) => existsSync(each));
  const said = { '--args': args, '--domain': domain, '--vmi': vmi, '--qm': qm };
  const given = Object.entries(said).flatMap(([name, value]) => (value === undefined ? [] : name));
  if (given.length > 1)
    throw new UsageError(`${given.join(' and ')} both say what the target is: one of them is enough`);
  if (vmi !== undefined) {
    const outline = readDescription('--vmi', vmi, readSmall(vmi).toString('utf8'), describeVmi);
    return { target: outlinedTarget(target, outline, options), commandLine: undefined };
  }
  if (qm !== undefined) {
    const text = readSmall(qm).toString('utf8');
    if (isShownCommand(text))
      return { target: parseTarget(target, { ...options, commandLine: text }), commandLine: text };
    return {
      target: outlinedTarget(target, readDescription('--qm', qm, text, describeQm), options),
      commandLine: undefined,
    };
  }
  if (domain !== undefined) {
    const description = readDescription(
      '--domain',
      domain,
      readSmall(domain).toString('utf8'),
      describeDomain,
    );
    return { target: describedTarget(target, description, options), commandLine: description.command };
  }
  const commandLine = args === undefined ? undefined : commandLineOf(args);
  return {
    target: parseTarget(target, { ...options, ...(commandLine !== undefined && { commandLine }) }),
    commandLine,
  };
}

/** Makes the target as its own program makes it, where one is named: stopped, and with nothing behind it. */
export async function askedTargetOf(words: TargetWords): Promise<Target> {
  const { qemu, start } = words;
  const { target, commandLine } = prepared(words);
  if (qemu === undefined) return target;
  const { destination } = target;
  if (commandLine === undefined || destination === undefined)
    throw new UsageError('--qemu BINARY needs what it is started with: --args or --domain');
  const { askQemu } = await import('./ask-qemu.ts');
  const options = { readConfig, ...(start !== undefined && { start: Number(start) }) };
  const asked = await askQemu(qemu, askingCommand(commandLine, destination, options));
  if (asked.version !== target.qemu.name)
    throw new UsageError(`--qemu ${qemu}: it is QEMU ${asked.version}, and the target ${words.target}`);
  return { ...target, destination: askedDestination(destination, asked) };
}

/** Reads a file that the command line names; undefined where it is not at hand, or no small file. */
function readConfig(name: string): string | undefined {
  try {
    const file = statSync(name);
    return file.isFile() && file.size <= CONFIG_BYTES ? readFileSync(name, 'utf8') : undefined;
  } catch {
    return undefined;
  }
}

/** Takes a command line: what has an option in it, or is JSON, is one; anything else names a file with one. */
function commandLineOf(args: string): string {
  if (/(^|\s)-/.test(args) || args.trimStart().startsWith('[')) return args;
  return readSmall(args).toString('utf8');
}

/** Answers whether the target will load a stream. */
export function check(read: Read, words: TargetWords, json: boolean, asked = targetOf(words)): Checked {
  const made = targetFor(read.stream, words, asked);
  const found = [...made.verdicts, ...checkStream(read.stream, made.target, registry)];
  return answered(words, read.error === undefined ? found : [...found, unreadable(read.error)], json);
}

/** Writes what is printed of verdicts over a stream, or over what a guest would send. */
function answered(
  { target }: TargetWords,
  verdicts: readonly Verdict[],
  json: boolean,
  what = 'this stream',
): Checked {
  const answer = answerOf(verdicts);
  if (json) {
    const loads = answer === 'loads';
    return {
      answer,
      text: `${JSON.stringify({ format: 1, target, loads, answer, verdicts }, null, 2)}\n`,
    };
  }
  return { answer, text: `${[...verdicts.map(verdictText), lastLine(target, answer, what)].join('\n')}\n` };
}

/** Answers whether the target will load what a running guest would send. The guest is asked, and runs on. */
export async function checkGuest(
  words: TargetWords,
  json: boolean,
): Promise<Checked & { readonly note: string }> {
  const { qmp, connect, domain = [] } = words;
  const [name, another] = domain.filter((each) => !existsSync(each));
  if ((qmp === undefined) === (name === undefined) || another !== undefined)
    throw new UsageError(
      'a stream, --qmp SOCKET of a running QEMU, or --domain NAME of a running domain: one of them is needed',
    );
  const asked = await askedTargetOf(words);
  const [{ QmpMonitor, VirshMonitor, virsh }, { askRunning }] = await Promise.all([
    import('./monitor.ts'),
    import('./ask-running.ts'),
  ]);
  const target =
    asked.destination === undefined && name !== undefined
      ? describedTarget(
          words.target,
          readDescription(
            '--domain',
            name,
            await virsh(connect, 'dumpxml', '--migratable', '--domain', name),
            describeDomain,
          ),
          optionsOf(words),
        )
      : asked;
  const monitor = qmp === undefined ? new VirshMonitor(connect, name ?? '') : await QmpMonitor.connect(qmp);
  try {
    const { running, notAsked, longestMs } = await askRunning(monitor);
    const notes = notAsked.map((reason) => remark('not-asked', 'guest', reason));
    return {
      ...answered(
        words,
        [...notes, ...checkRunning(running, target, registry)],
        json,
        'what this guest would send',
      ),
      note: `asked a QEMU ${running.version} that runs; its longest answer took ${longestMs.toFixed(0)} ms`,
    };
  } finally {
    monitor.close();
  }
}

function lastLine(target: string, answer: Answer, what: string): string {
  switch (answer) {
    case 'refused':
      return pc.red(`${target} refuses ${what}`);
    case 'unknown':
      return pc.yellow(`virtkit cannot say whether ${target} loads ${what}`);
    case 'depends':
      return pc.yellow(`${target} loads ${what}, if what is said above holds`);
    case 'loads':
      return `${target} loads ${what}, with the devices that the source had`;
  }
}

/** Writes one verdict in lines. */
export function verdictText(verdict: Verdict): string {
  const { severity, path, reason, qemuSays, feature, property, machine, spec, advice, convertible } = verdict;
  const color = severity === 'refused' ? pc.red : severity === 'note' ? pc.dim : pc.yellow;
  const lines = [
    `${color(severity)}: ${path}: ${reason}`,
    ...(qemuSays === undefined ? [] : [`  QEMU says: ${qemuSays}`]),
    ...(feature === undefined && property === undefined
      ? []
      : [
          `  ${[feature, property === undefined ? undefined : `property ${property}`, machine === undefined ? undefined : `on since machine ${machine}`, spec].filter((part) => part !== undefined).join(', ')}`,
        ]),
    ...(advice === undefined ? [] : [`  What to do: ${advice}`]),
    ...(convertible === true ? ['  virtkit convert makes it load'] : []),
  ];
  return textOf(lines).trimEnd();
}
