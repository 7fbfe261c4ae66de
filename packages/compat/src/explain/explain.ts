import {
  type DeviceType,
  type Explanation,
  type LogContext,
  type MessageRule,
  typeNamed,
} from '@virtkit/core/qemu';
import { deviceTypes } from '../device-types.ts';
import { type LogLine, logLines } from './log/log-lines.ts';
import { rulesWith } from './rules.ts';

/** Message that a rule knows, and the attempt of its VM that it belongs to. */
export interface Found {
  readonly explanation: Explanation;
  /** True if the message was told by a wide pattern. See {@link MessageRule.broad}. */
  readonly broad: boolean;
  /** Number of the start or load of that VM in this log, from 0 on. */
  readonly attempt: number;
}

/** Messages that were found in a log. */
export interface Scan {
  readonly found: readonly Found[];
  /** Messages of QEMU that no rule knows, by VM, at most {@link UNKNOWN_MAX} of each. */
  readonly unknown: ReadonlyMap<string | undefined, readonly string[]>;
}

/** Largest number of messages of a VM that are told although no rule knows them. */
const UNKNOWN_MAX = 10;

/**
 * Answers what the messages of QEMU, and of the programs that run it, mean: one line, or a whole log in any wrapping (journald, JSON
 * lines, events of a cluster). Lines that are none of them about a load or a save are left out.
 */
export function explain(text: string, types: readonly DeviceType[] = deviceTypes): Explanation[] {
  return scan(text, types).found.map(({ explanation }) => explanation);
}

/** Explains a log as {@link explain} does, with what else there is to tell about it. */
export function scan(text: string, types: readonly DeviceType[] = deviceTypes): Scan {
  const rules = rulesWith(types);
  const narrow = rules.filter(({ silent, broad }) => silent !== true && broad !== true);
  const telling = [...narrow, ...rules.filter(({ broad }) => broad)];
  const vms = new Vms();
  const matched: Matched[] = [];
  const unknown = new Map<string | undefined, string[]>();
  for (const line of logLines(text)) {
    const { attempt } = vms.sees(line);
    let known = false;
    for (const part of partsOf(line.text)) {
      const rule = (isOfQemu(line) ? telling : narrow).findIndex(({ pattern }) => pattern.test(part));
      if (rule < 0) continue;
      known = true;
      matched.push({ line: part, vm: line.vm, attempt, rule });
    }
    if (!known && line.program !== undefined) addUnknown(unknown, line);
  }
  const found = explained(matched, telling, types, vms);
  const silent = rules.filter(({ silent: isSilent }) => isSilent);
  const causes = found.some(({ explanation: { role } }) => role === 'cause');
  return { found: causes ? found : withSilentCause(found, silent, types, vms), unknown };
}

/** Is a line written by QEMU itself, or does somebody pass on its words? */
function isOfQemu({ program, text }: LogLine): boolean {
  return (
    program !== undefined ||
    /unable to execute QEMU command '[^']{1,60}': |qmp command '[^']{1,60}' failed - /.test(text)
  );
}

interface Matched {
  readonly line: string;
  readonly vm: string | undefined;
  readonly attempt: number;
  /** Index of the first rule that matches. */
  readonly rule: number;
}

function addUnknown(unknown: Map<string | undefined, string[]>, { text, vm }: LogLine): void {
  const known = unknown.get(vm) ?? [];
  if (known.length < UNKNOWN_MAX && !known.includes(text)) known.push(text);
  unknown.set(vm, known);
}

/** Facts that the lines say of each VM: its program, its machine type, how often it was started. */
class Vms {
  readonly #states = new Map<string | undefined, { program?: string; machine?: string; attempt: number }>();

  sees({ text, vm, program }: LogLine): { readonly attempt: number } {
    const state = this.of(vm);
    if (/starting up libvirt version/.test(text)) state.attempt++;
    const attempt = state.attempt;
    if (/load of migration failed|shutting down, reason=failed/.test(text)) state.attempt++;
    if (program !== undefined) state.program ??= program;
    const machine = /(?:-machine|-M) (?:type=)?([\w.+-]{1,64})/.exec(text)?.[1];
    if (machine !== undefined && /\d/.test(machine)) state.machine = machine;
    return { attempt };
  }

  of(vm: string | undefined): { program?: string; machine?: string; attempt: number } {
    const known = this.#states.get(vm);
    if (known !== undefined) return known;
    const state = { attempt: 0 };
    this.#states.set(vm, state);
    return state;
  }
}

/** Explains what matched, each with what the lines around it tell. */
function explained(
  matched: readonly Matched[],
  rules: readonly MessageRule[],
  types: readonly DeviceType[],
  vms: Vms,
): Found[] {
  const contexts = contextsOf(matched, types, vms);
  return matched.flatMap(({ line, vm, attempt, rule }, index) => {
    const explanation = explainedBy(rules.slice(rule), line, contexts[index] ?? {});
    if (explanation === undefined) return [];
    const { broad = false } = rules[rule] ?? {};
    return [{ explanation: { ...explanation, ...(vm !== undefined && { vm }) }, broad, attempt }];
  });
}

/** Explains a message by the first rule that has an explanation. */
function explainedBy(
  rules: readonly MessageRule[],
  line: string,
  context: LogContext,
): Explanation | undefined {
  for (const rule of rules) {
    const match = rule.pattern.exec(line);
    const explanation = match === null ? undefined : rule.explain(match, context);
    if (explanation !== undefined) return { line, ...explanation };
  }
  return undefined;
}

/** Adds the explanations of a log in which no line tells a cause: what failed may be enough to tell it. */
function withSilentCause(
  found: readonly Found[],
  silent: readonly MessageRule[],
  types: readonly DeviceType[],
  vms: Vms,
): Found[] {
  const lines = found.map(({ explanation: { line, vm }, attempt }) => ({ line, vm, attempt, rule: 0 }));
  const contexts = contextsOf(lines, types, vms);
  let told = false;
  return found.map((where, index) => {
    const { line, facts, vm } = where.explanation;
    const cause = told ? undefined : explainedBy(silent, line, contexts[index] ?? {});
    if (cause === undefined) return where;
    told = true;
    return { ...where, explanation: { ...cause, facts, ...(vm !== undefined && { vm }) } };
  });
}

/**
 * Splits a line of QEMU 11.1, which puts the whole chain into one: `load of migration failed: <strerror>: <outermost>:
 * … : <innermost>`.
 */
function partsOf(line: string): string[] {
  const [, head, rest] = /^(load of migration failed: [^:]+): (.+)$/.exec(line) ?? [];
  return head === undefined || rest === undefined ? [line] : [head, ...rest.split(/: (?=[A-Z])/)];
}

/** Pattern of names of virtio sections: `virtio-net`, `virtio-vhost_vsock`, `vhost-user-blk`. */
const NAME = '((?:virtio|vhost)-[a-z0-9_-]*[a-z0-9])';
const SECTION = /* @__PURE__ */ new RegExp(
  String.raw`(?:of device|instance|footer for) '?([^\s']*?)/?${NAME}'?`,
);
const FAILED = /* @__PURE__ */ new RegExp(`Failed to load ()${NAME}:`);

/**
 * Finds what stands around each of some messages: QEMU says the cause first, then the field, then the device. So a
 * message belongs to the next device that is named behind it in the same attempt; without one, to the first that the
 * log names.
 */
function contextsOf(matched: readonly Matched[], types: readonly DeviceType[], vms: Vms): LogContext[] {
  const contexts: LogContext[] = new Array(matched.length);
  const first = new Map<string | undefined, LogContext>();
  const ahead = new Map<string | undefined, { context: LogContext; attempt: number }>();
  for (let index = matched.length - 1; index >= 0; index--) {
    const item = matched[index];
    if (item === undefined) continue;
    const { line, vm, attempt } = item;
    const next = ahead.get(vm);
    const context = joined(next?.attempt === attempt ? next.context : {}, placeOf(line, types));
    ahead.set(vm, { context, attempt });
    if (context.device !== undefined || context.other !== undefined) first.set(vm, context);
    contexts[index] = context;
  }
  return contexts.map((context, index) => {
    const vm = matched[index]?.vm;
    const { program, machine } = vms.of(vm);
    const place = context.device === undefined && context.other === undefined ? first.get(vm) : undefined;
    return {
      ...place,
      ...context,
      ...(program !== undefined && { program }),
      ...(machine !== undefined && { machine }),
    };
  });
}

/** Joins what is named behind a message, and in it: another device in it is not the one behind it. */
function joined(behind: LogContext, here: LogContext): LogContext {
  const name = here.device ?? here.other;
  if (name === undefined || name === (behind.device ?? behind.other)) return { ...behind, ...here };
  return here;
}

/** Finds the device and the field that a line names. */
function placeOf(line: string, types: readonly DeviceType[]): LogContext {
  const [, path, name] = SECTION.exec(line) ?? FAILED.exec(line) ?? [];
  const field = /Failed to load [\w-]+:(\w+)/.exec(line)?.[1];
  return {
    ...(field !== undefined && { field }),
    ...(name !== undefined && (typeNamed(types, name) === undefined ? { other: name } : { device: name })),
    ...(path !== undefined && path !== '' && { path }),
  };
}
