import {
  type DeviceType,
  type Explanation,
  type LogContext,
  type MessageRule,
  typeNamed,
} from '@virtkit/core/qemu';
import { deviceTypes } from '../device-types.ts';
import { rulesWith } from './rules.ts';

/** Most characters of a line that are looked at: QEMU's messages are shorter. */
const LINE_MAX = 1000;

/** Answers what QEMU's messages mean: one line, or a whole log. Lines that are none of QEMU's about a load are left out. */
export function explain(text: string, types: readonly DeviceType[] = deviceTypes): Explanation[] {
  const lines = text
    .split(/\r?\n|\\n/)
    .map((line) => stripPrefix(line.slice(0, LINE_MAX)))
    .filter((line) => line !== '');
  const context = contextOf(lines, types);
  const rules = rulesWith(types);
  const [telling, silent] = [
    rules.filter((rule) => rule.silent !== true),
    rules.filter((rule) => rule.silent),
  ];
  const found = lines.flatMap((line) =>
    partsOf(line).flatMap((part) => explainedBy(telling, part, context) ?? []),
  );
  return found.some(({ role }) => role === 'cause') ? found : withSilentCause(found, silent, context);
}

/** The explanation by the first rule that has one. */
function explainedBy(
  rules: readonly MessageRule[],
  line: string,
  context: LogContext,
): Explanation | undefined {
  for (const rule of rules) {
    const match = rule.pattern.exec(line);
    const explained = match === null ? undefined : rule.explain(match, context);
    if (explained !== undefined) return { line, ...explained };
  }
  return undefined;
}

/** The explanations of a log in which no line tells a cause: what failed may be enough to tell it. */
function withSilentCause(
  found: readonly Explanation[],
  silent: readonly MessageRule[],
  context: LogContext,
): Explanation[] {
  let told = false;
  return found.map((where) => {
    const cause = told ? undefined : explainedBy(silent, where.line, context);
    if (cause === undefined) return where;
    told = true;
    return { ...cause, facts: where.facts };
  });
}

/** `2026-01-01T10:00:00.1Z qemu-system-x86_64: -incoming tcp:…: text` → `text`. */
function stripPrefix(line: string): string {
  return line
    .trim()
    .replace(/^\d{4}-\d\d-\d\d[T ][\d:.]+(Z|[+-]\d\d:?\d\d)?:?\s*/, '')
    .replace(/^(?:\S*\/)?(?:qemu[\w.-]*|kvm)(?:\[\d+\])?: /, '')
    .replace(/^-(?:incoming|device|loadvm) \S+: /, '')
    .replace(
      /^(?:error: )?internal error: (?:qemu unexpectedly closed the monitor: |QEMU unexpectedly closed the monitor[^:]*: )?/,
      '',
    )
    .trim();
}

/** QEMU 11.1 puts the whole chain into one line: `load of migration failed: <strerror>: <outermost>: … : <innermost>`. */
function partsOf(line: string): string[] {
  const [, head, rest] = /^(load of migration failed: [^:]+): (.+)$/.exec(line) ?? [];
  return head === undefined || rest === undefined ? [line] : [head, ...rest.split(/: (?=[A-Z])/)];
}

/** Names of virtio sections: `virtio-net`, `virtio-vhost_vsock`, `vhost-user-blk`. */
const NAME = '((?:virtio|vhost)-[a-z0-9_-]*[a-z0-9])';
const SECTION = new RegExp(String.raw`(?:of device|instance|footer for) '?([^\s']*?)/?${NAME}'?`);
const FAILED = new RegExp(`Failed to load ()${NAME}:`);

function contextOf(lines: readonly string[], types: readonly DeviceType[]): LogContext {
  const text = lines.join('\n');
  const [, path, name] = SECTION.exec(text) ?? FAILED.exec(text) ?? [];
  const field = /Failed to load [\w-]+:(\w+)/.exec(text)?.[1];
  return {
    lines,
    ...(field !== undefined && { field }),
    ...(name !== undefined && (typeNamed(types, name) === undefined ? { other: name } : { device: name })),
    ...(path !== undefined && path !== '' && { path }),
  };
}
