import { type FeatureKind, isFeatureKind } from './control.ts';
import { rules } from './rules.ts';

/** What one line of QEMU's means. */
export interface Explanation {
  /** The line, without the program's name and time in front. */
  readonly line: string;
  /** Stable, for programs: `features`, `ring-index`, `pci-config`, … */
  readonly code: string;
  /** The load has failed for this reason (`cause`), or the line only says where or that it failed (`context`). */
  readonly role: 'cause' | 'context' | 'warning';
  /** In whole sentences. */
  readonly meaning: string;
  /** What to change, most likely first. */
  readonly advice: readonly string[];
  /** The values of the line by name. */
  readonly facts: Readonly<Record<string, string | number>>;
  /** The feature bits that the line is about. */
  readonly features?: readonly ExplainedFeature[];
}

/** A feature bit, and what decides over it. */
export interface ExplainedFeature {
  readonly bit: number;
  readonly name: string;
  readonly property?: string;
  readonly machine?: string;
  readonly needs?: string;
  readonly spec: string;
}

/** What the whole text tells about where it happened. */
export interface LogContext {
  /** The device of the section, if a line names it: `virtio-net`. */
  readonly device?: FeatureKind;
  /** A virtio device is named, of a type whose features are not known. */
  readonly other?: string;
  /** Its path: `0000:00:02.0`. */
  readonly path?: string;
  /** The first field of a device that was not loaded: `max_queue_pairs`. */
  readonly field?: string;
  readonly lines: readonly string[];
}

/** QEMU's messages are shorter; patterns need not look at more. */
const LINE_MAX = 1000;

/** Answers what QEMU's messages mean: one line, or a whole log. Lines that are none of QEMU's about a load are left out. */
export function explain(text: string): Explanation[] {
  const lines = text
    .split(/\r?\n|\\n/)
    .map((line) => stripPrefix(line.slice(0, LINE_MAX)))
    .filter((line) => line !== '');
  const context = contextOf(lines);
  const found = lines.flatMap((line) => {
    const parts = partsOf(line);
    return parts.flatMap((part) => {
      for (const rule of rules) {
        const match = rule.pattern.exec(part);
        if (match !== null) return [{ line: part, ...rule.explain(match, context) }];
      }
      return [];
    });
  });
  return found.some(({ role }) => role === 'cause') ? found : withSilentCause(found, context);
}

/** Of a console with other ports QEMU says nothing but where it stopped. */
function withSilentCause(found: Explanation[], { device }: LogContext): Explanation[] {
  const at = found.findIndex(({ line }) =>
    /^Failed to load (virtio-console:virtio|element of type virtio)/.test(line),
  );
  const where = found[at];
  if (device !== 'virtio-console' || where === undefined) return found;
  const cause: Explanation = {
    ...where,
    code: 'console-ports',
    role: 'cause',
    meaning:
      'The console does not take its state, and QEMU does not say why: then its ports are not those of the source. The numbers of all ports must be the same on both sides.',
    advice: [
      'Give the destination the same virtserialport and virtconsole devices (the guest agent has one), each with the nr that it has at the source.',
      'virtkit inspect FILE --device virtio-console shows the ports of the stream.',
    ],
  };
  return found.map((each, index) => (index === at ? cause : each));
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

function contextOf(lines: readonly string[]): LogContext {
  const text = lines.join('\n');
  const [, path, name] = SECTION.exec(text) ?? FAILED.exec(text) ?? [];
  const field = /Failed to load [\w-]+:(\w+)/.exec(text)?.[1];
  return {
    lines,
    ...(field !== undefined && { field }),
    ...(name !== undefined && (isFeatureKind(name) ? { device: name } : { other: name })),
    ...(path !== undefined && path !== '' && { path }),
  };
}
