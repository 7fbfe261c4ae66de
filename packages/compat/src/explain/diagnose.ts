import type { DeviceType, Explanation } from '@virtkit/core/qemu';
import { deviceTypes } from '../device-types.ts';
import { type Found, scan } from './explain.ts';

/** Answer to a log, about one VM or about all lines that name none. */
export interface Diagnosis {
  /**
   * Names of the VMs that the answer is about; empty if the log names none. Those with the same cause and cure share an
   * answer.
   */
  readonly vms: readonly string[];
  /**
   * Certainty of the answer. `cause`: the log says why it failed. `consequence`: it says only that it failed, and the
   * cure is where to look. `none`: nothing in it says that something failed.
   */
  readonly certainty: 'cause' | 'consequence' | 'none';
  /** Sentence that says why it failed. */
  readonly cause: string;
  /** Sentence that says what to do: the most likely. */
  readonly cure: string;
  /** Message that the answer comes from; absent where there is none. */
  readonly from?: Explanation;
  /** Messages beside that one, each once, in the order of the log. */
  readonly others: readonly Repeated[];
  /** Messages of QEMU that are not known. */
  readonly unknown: readonly string[];
}

/** Message, with the number of times that the log has it. */
export interface Repeated {
  /** Meaning of the message, and what can be done. */
  readonly explanation: Explanation;
  /** Number of times that the log has the message, 1 or more. */
  readonly count: number;
}

/**
 * Answers a log: for each VM the one cause and the one cure, the rest behind them. VMs that failed for the same reason
 * share an answer. Empty if nothing in the log is a message that is known.
 */
export function diagnose(text: string, types: readonly DeviceType[] = deviceTypes): Diagnosis[] {
  const { found, unknown } = scan(text, types);
  const byVm = new Map<string | undefined, Found[]>();
  for (const item of found) {
    const { vm } = item.explanation;
    const items = byVm.get(vm);
    if (items === undefined) byVm.set(vm, [item]);
    else items.push(item);
  }
  const answers = [...byVm].map(([vm, items]) => answerOf(vm, items, unknown.get(vm) ?? []));
  return merged(answers.filter(({ certainty }) => certainty !== 'none' || answers.length === 1));
}

function answerOf(vm: string | undefined, items: readonly Found[], unknown: readonly string[]): Diagnosis {
  const from = causeOf(items);
  const vms = vm === undefined ? [] : [vm];
  const refused = from?.role === 'cause' ? undefined : refusedDevice(items);
  const others = repeated(items).filter(({ explanation }) => explanation.line !== from?.line);
  if (refused !== undefined) return { vms, ...refusalOf(refused, unknown), others: repeated(items), unknown };
  if (from === undefined) {
    const [first] = others;
    const cause = 'Not in this log: no line of it says why something failed.';
    const meaning = first === undefined ? '' : ` What it says: ${first.explanation.meaning}`;
    const cure = `Paste the lines before these, and the log of QEMU on the other side (libvirt: /var/log/libvirt/qemu/NAME.log on the destination).`;
    return { vms, certainty: 'none', cause: `${cause}${meaning}`, cure, others, unknown };
  }
  const certainty = from.role === 'cause' ? 'cause' : 'consequence';
  const cause = certainty === 'cause' ? from.meaning : `Not in this log. ${from.meaning}`;
  return { vms, certainty, cause, cure: from.advice[0] ?? 'Nothing has to be done.', from, others, unknown };
}

/** Finds the device whose state was refused, where no message that is known says why. */
function refusedDevice(items: readonly Found[]): string | undefined {
  for (const { explanation } of [...items].reverse()) {
    const section = explanation.code === 'where' ? explanation.facts['section'] : undefined;
    if (typeof section === 'string') return section;
  }
  return undefined;
}

/** Explains the refusal of a device's state for a reason that is not known. */
function refusalOf(
  section: string,
  unknown: readonly string[],
): Pick<Diagnosis, 'certainty' | 'cause' | 'cure'> {
  const last = unknown.at(-1);
  const words =
    last === undefined
      ? 'Why is not in this log.'
      : `Why, these words of QEMU may say, which virtkit does not know: "${last}".`;
  return {
    certainty: 'consequence',
    cause: `The destination refused the state of "${section}". ${words}`,
    cure: `Compare that device on both sides: its model, slot and properties, the QEMU packages and kernels of the hosts; paste the lines before these if there are more. If the VM can do without it, take it out before the migration.`,
  };
}

/**
 * Finds the message that tells most: the first cause of the last attempt that has one, those with a name of their own
 * before what is told by wide patterns; else the first that says where the cause is told.
 */
function causeOf(items: readonly Found[]): Explanation | undefined {
  for (const wide of [false, true]) {
    const causes = items.filter(({ explanation: { role }, broad }) => role === 'cause' && broad === wide);
    const last = causes.at(-1)?.attempt;
    const cause = causes.find(({ attempt }) => attempt === last);
    if (cause !== undefined) return cause.explanation;
  }
  return items.find(({ explanation: { role } }) => role === 'consequence')?.explanation;
}

/** Lists each message once. */
function repeated(items: readonly Found[]): Repeated[] {
  const seen = new Map<string, { explanation: Explanation; count: number }>();
  for (const { explanation } of items) {
    const known = seen.get(explanation.line);
    if (known === undefined) seen.set(explanation.line, { explanation, count: 1 });
    else known.count++;
  }
  return [...seen.values()];
}

/**
 * Merges answers with the same cause and cure into one, about all of their VMs; those that know the cause come first.
 */
function merged(answers: readonly Diagnosis[]): Diagnosis[] {
  const byText = new Map<string, Diagnosis>();
  for (const answer of answers) {
    const key = `${answer.cause}\n${answer.cure}`;
    const known = byText.get(key);
    byText.set(key, known === undefined ? answer : { ...known, vms: [...known.vms, ...answer.vms] });
  }
  const all = [...byText.values()];
  return [
    ...all.filter(({ certainty }) => certainty === 'cause'),
    ...all.filter(({ certainty }) => certainty !== 'cause'),
  ];
}
