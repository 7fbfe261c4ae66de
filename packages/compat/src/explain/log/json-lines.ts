/** Messages out of JSON: a line of a program's log, or a list of a cluster's events. */

/** Message, and the VM that the JSON around it names. */
export interface JsonMessage {
  readonly text: string;
  readonly vm?: string;
}

/** Keys under which programs write what they have to say, in the order in which it is shown. */
const MESSAGES = [
  'msg',
  'message',
  'MESSAGE',
  'log',
  'textPayload',
  'reason',
  'failureReason',
  'error',
  'err',
  'note',
  'errordetail',
];
/** Keys of objects that name what an event is about. */
const OBJECTS = ['involvedObject', 'regarding'];
/** Largest depth down to which objects are looked into. */
const DEPTH_MAX = 12;

/** Finds the messages of a JSON value; empty if it holds none. */
export function jsonMessages(value: unknown): JsonMessage[] {
  const found: JsonMessage[] = [];
  collect(value, undefined, 0, found);
  return found;
}

/** Reads a JSON value, or undefined if the text is none. */
export function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function collect(value: unknown, around: string | undefined, depth: number, found: JsonMessage[]): void {
  if (depth > DEPTH_MAX || typeof value !== 'object' || value === null) return;
  if (Array.isArray(value)) {
    for (const item of value) collect(item, around, depth + 1, found);
    return;
  }
  const object = new Map(Object.entries(value));
  const vm = vmOf(object) ?? around;
  for (const key of MESSAGES) {
    const text = stringOf(object.get(key));
    if (text === undefined) continue;
    const inner = text.trimStart().startsWith('{') ? parsedJson(text) : undefined;
    if (inner === undefined) found.push({ text, ...(vm !== undefined && { vm }) });
    else collect(inner, vm, depth + 1, found);
  }
  for (const [key, child] of object) if (!OBJECTS.includes(key)) collect(child, vm, depth + 1, found);
}

/** Reads a text; journald writes one with other than printable characters as a list of its bytes. */
function stringOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (!Array.isArray(value) || value.length === 0 || !value.every((item) => typeof item === 'number'))
    return undefined;
  return value.map((byte) => String.fromCharCode(byte & 0xff)).join('');
}

/** Finds the VM that an object of a cluster, or a line of KubeVirt's, is about. */
function vmOf(object: ReadonlyMap<string, unknown>): string | undefined {
  for (const key of OBJECTS) {
    const name = memberOf(object.get(key), 'name');
    if (name !== undefined) return name;
  }
  const ofMigration = memberOf(object.get('spec'), 'vmiName');
  if (ofMigration !== undefined) return ofMigration;
  const kind = object.get('kind');
  if (typeof kind === 'string' && /^VirtualMachine/.test(kind)) {
    const name = memberOf(object.get('metadata'), 'name');
    if (name !== undefined) return name;
  }
  const name = object.get('name');
  if (typeof name === 'string' && typeof kind === 'string' && object.has('msg') && name !== '') return name;
  const pod = memberOf(object.get('kubernetes'), 'pod_name');
  return pod === undefined ? undefined : /^virt-launcher-(.+)-[a-z0-9]{5}$/.exec(pod)?.[1];
}

function memberOf(value: unknown, key: string): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const member = new Map(Object.entries(value)).get(key);
  return typeof member === 'string' && member !== '' ? member : undefined;
}
