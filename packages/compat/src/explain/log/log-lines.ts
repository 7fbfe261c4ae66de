import { cleaned } from './clean.ts';
import { jsonMessages, parsedJson } from './json-lines.ts';
import { vmFromHere, vmOfLine } from './vm-names.ts';
import { unfolded } from './yaml-text.ts';

/** Largest number of characters of a line that are looked at: messages are shorter. */
const LINE_MAX = 1000;
/** Largest number of characters of a line that are searched for what it is wrapped in. */
const WRAPPED_MAX = 65536;
/** Largest number of characters of a text that is read as one JSON value; a longer one is read line by line. */
const WHOLE_MAX = 4 << 20;

/** Message of a log, out of whatever it was wrapped in. */
export interface LogLine {
  /** Text of the message, without time, host and program. */
  readonly text: string;
  /** Program that wrote the message, if the line says so: `qemu-kvm`. */
  readonly program?: string;
  /** Name of the VM that the message is about, if that can be told. */
  readonly vm?: string;
}

/** Pattern of programs that are QEMU, as they stand in front of its messages. */
const QEMU = String.raw`(?:qemu-system-\w{1,20}|qemu-kvm|qemu-kvm-\w{1,20}|kvm-spice|kvm|qemu)(?:\[\d{1,10}\])?: `;
const BEFORE_QEMU = /* @__PURE__ */ new RegExp(String.raw`(?<![\w/.-])(?=(?:\/[\w./-]{1,100}\/)?${QEMU})`);
const QEMU_HEAD =
  /^(?:\/[\w./-]{1,100}\/)?(qemu-system-\w{1,20}|qemu-kvm|kvm-spice|kvm|qemu)(?:\[\d{1,10}\])?:(?: |$)/;

/** Patterns of time stamps, hosts, log levels and programs at the beginning of a line, as many as there are. */
const HEADS: readonly RegExp[] = [
  /^\[?\d{4}-\d\d-\d\d[T ][\d:.,]{5,20}(?:Z|[+-]\d\d:?\d\d)?\]?:?\s*/,
  /^(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) )?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)?(?: \d{4})?\s+(?:[\w.-]{1,64} (?=[\w./@-]{1,64}(?:\[\d{1,10}\])?:))?/,
  /^(?:[\w.-]{1,64} )?(?:QEMU|libvirtd|virtqemud|qemu-server|pvedaemon|pveproxy|pvestatd|pvesr|qm|kernel|systemd|nova-compute)\[\d{1,10}\]: /,
  /^[\w./@-]{1,64}\[\d{1,10}\]:\s+/,
  /^(?:Migration: \[ *[\d.]+ %\]\s*)+/,
  /^\d{1,10} (?:ERROR|WARNING|INFO|DEBUG|CRITICAL) [\w.]{1,100} (?:\[[^\]]{0,300}\] ){0,3}/,
  /^\d{1,10}: (?:error|warning|info|debug) : \w{1,64}:\d{1,6} : /,
  /^(?:compute )?level=\w{1,10} msg=/,
  /^[IWEF]\d{4} [\d:.]{8,15}\s+\d{1,10} [\w.-]{1,64}:\d{1,6}\] /,
  /^\[\s*\d{1,10}\.\d{1,9}\] /,
];

/** Lists the messages of a log in any wrapping, in their order, one at a time. Work is proportional to the text. */
export function* logLines(text: string): Generator<LogLine, void> {
  for (const line of withNames(unwrapped(text))) yield* messagesOf(line);
}

/** Line that was taken out of what it was wrapped in. */
interface Named {
  readonly text: string;
  readonly vm?: string;
}

/** Takes the lines of a log out of one JSON value if it is that, else out of what each of them is wrapped in. */
function* unwrapped(text: string): Generator<Named, void> {
  const whole = text.length <= WHOLE_MAX && /^\s*[[{]/.test(text) ? parsedJson(text) : undefined;
  if (whole !== undefined) {
    for (const message of jsonMessages(whole)) yield* splitLines(message);
    return;
  }
  for (const line of unfolded(rawLines(text))) yield* outOfJson(line);
}

/** Lists lines as they stand, without what a terminal or a page added; empty ones are left out. */
function* rawLines(text: string): Generator<string, void> {
  for (let at = 0; at < text.length; ) {
    const found = text.indexOf('\n', at);
    const end = found < 0 ? text.length : found;
    const line = text.slice(at, Math.min(end, at + WRAPPED_MAX));
    at = end + 1;
    for (const part of line.includes('\r') ? line.split('\r') : [line])
      if (part.trim() !== '') yield cleaned(part);
  }
}

function* splitLines({ text, vm }: Named): Generator<Named, void> {
  for (const line of text.slice(0, WRAPPED_MAX).split(/\r?\n|\\r?\\n|\\n/))
    yield { text: cleaned(line), ...(vm !== undefined && { vm }) };
}

/** Takes the messages out of a line of JSON, whatever stands in front of it (a container's name, a time stamp). */
function* outOfJson(text: string): Generator<Named, void> {
  const at = text.indexOf('{"');
  const inner = at < 0 ? [] : jsonMessages(parsedJson(text.slice(at, text.lastIndexOf('}') + 1)));
  if (inner.length === 0) yield* splitLines({ text });
  const front = at < 0 ? undefined : vmOfLine(text.slice(0, Math.min(at, LINE_MAX)));
  for (const { text: message, vm = front } of inner)
    yield* splitLines({ text: message, ...(vm !== undefined && { vm }) });
}

/** Adds to lines the VM that they, or a heading in front of them, name. */
function* withNames(lines: Iterable<Named>): Generator<Named, void> {
  let heading: string | undefined;
  const objects = new ObjectNames();
  for (const line of lines) {
    const text = line.text.slice(0, LINE_MAX);
    if (objects.begins(text)) heading = undefined;
    heading = vmFromHere(line.text) ?? objects.named(text) ?? heading;
    const vm = line.vm ?? vmOfLine(text) ?? heading;
    yield { text: line.text, ...(vm !== undefined && { vm }) };
  }
}

/** Follower of the objects of a cluster that the lines of a YAML are about. */
class ObjectNames {
  #isVm = false;
  #wanted = false;

  /** Does an object begin with this line? */
  begins(line: string): boolean {
    if (!/^(?:- )?(?:apiVersion:|---$)/.test(line)) return false;
    this.#isVm = false;
    this.#wanted = false;
    return true;
  }

  /** Finds the name of the VM that the object is, or is about, if it stands in this line. */
  named(line: string): string | undefined {
    if (/^\s*kind: VirtualMachine/.test(line)) this.#isVm = true;
    if (/^\s*(?:involvedObject|regarding):$/.test(line) || (this.#isVm && /^\s*metadata:$/.test(line)))
      this.#wanted = true;
    const name = this.#wanted ? /^\s+name: "?([\w.-]{1,63})/.exec(line)?.[1] : undefined;
    if (name !== undefined) this.#wanted = false;
    return name;
  }
}

/** Splits a line into its messages: a program that passes on what QEMU said writes several into one. */
function* messagesOf({ text, vm }: Named): Generator<LogLine, void> {
  for (const part of text.split(BEFORE_QEMU)) {
    const program = QEMU_HEAD.exec(part)?.[1];
    const message = stripped(part.slice(0, LINE_MAX));
    if (message !== '')
      yield { text: message, ...(program !== undefined && { program }), ...(vm !== undefined && { vm }) };
  }
}

/** Strips a message of what stands in front of it, and of the time stamp of the next. */
function stripped(part: string): string {
  let text = part.trim().replaceAll('\\"', '"').replaceAll("\\'", "'");
  for (let before = text.length + 1; text.length < before; ) {
    before = text.length;
    for (const head of HEADS) text = text.replace(head, '');
  }
  return text
    .replace(QEMU_HEAD, '')
    .replace(/^-(?:incoming|device|loadvm|netdev|drive|blockdev|object) \S+: /, '')
    .replace(
      /^(?:error: )?internal error: (?:qemu unexpectedly closed the monitor: |QEMU unexpectedly closed the monitor[^:]*: )?/,
      '',
    )
    .replace(/\s+\d{4}-\d\d-\d\d[T ][\d:.]{5,20}Z?$/, '')
    .trim();
}
