import { nameIn, type TraceNode } from '@virtkit/vmstate';

/** Field of a decoded state, found by its path. */
export interface FoundField {
  /** Path in the state's spelling: `queues[0].lastAvailIdx`. */
  readonly path: string;
  /** Node of the field, with its bytes and its value. */
  readonly node: TraceNode;
}

/** Groups whose fields need not be asked for with the group's name in front: QEMU has no such groups. */
const GROUPS: ReadonlySet<string> = new Set(['subsections', 'device', 'transport']);

/**
 * Finds the field that somebody means: `queues[1].last_avail_idx`, `lastAvailIdx`, `vring.num`,
 * `virtio/64bit_features`.
 */
export function findField(root: TraceNode, path: string): FoundField | undefined {
  const wanted = plain(path);
  const direct = find(root, wanted, '');
  if (direct !== undefined) return direct;
  for (const group of root.children) {
    const found = GROUPS.has(group.name) ? find(group, wanted, group.name) : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}

/**
 * Lists the fields at `path`, down to the last one; all of them without a path. An array of numbers is one field: there
 * are sections with a hundred thousand of them.
 */
export function fieldsUnder(root: TraceNode, path: string | undefined): readonly FoundField[] {
  if (path === undefined || path === '') return [...fieldsIn(root, '')];
  const from = findField(root, path);
  if (from === undefined) return [];
  return isSimple(from.node) ? [from] : [...fieldsIn(from.node, from.path)];
}

function* fieldsIn(node: TraceNode, here: string): Generator<FoundField> {
  for (const child of node.children) {
    const path = nameIn(here, child);
    if (!isSimple(child)) yield* fieldsIn(child, path);
    // a group in which nothing is
    else if (child.children.length > 0 || child.end > child.start || !EMPTY.has(child.type))
      yield { path, node: child };
  }
}

const EMPTY: ReadonlySet<string> = new Set(['struct', 'subsections']);

/** Is a node a single field, or an array of numbers, which is shown as one? */
export function isSimple({ children }: TraceNode): boolean {
  return children.every(
    ({ name, type, children: inner }) => name.startsWith('[') && inner.length === 0 && !NOT_ALIKE.has(type),
  );
}

const NOT_ALIKE: ReadonlySet<string> = new Set(['absent', 'struct', 'buffer']);

/** Takes a field's value; of an array that was read element by element, a list of their values. */
export function fieldValue({ value, children }: TraceNode): unknown {
  return value === undefined && children.length > 0 ? children.map((child) => child.value) : value;
}

/** Reduces a name to what two spellings have in common: `last_avail_idx` is `lastAvailIdx`. */
function plain(name: string): string {
  return name.replaceAll('_', '').toLowerCase();
}

function find(node: TraceNode, wanted: string, here: string): FoundField | undefined {
  for (const child of node.children) {
    const path = nameIn(here, child);
    // QEMU has the length of a field beside it, not in it: `config_len`
    const count = child.children.find(({ part, wire }) => part === 'count' && plain(wire) === wanted);
    if (count !== undefined) return { path: nameIn(path, count), node: count };
    for (const name of namesOf(child)) {
      if (!wanted.startsWith(name)) continue;
      const rest = wanted.slice(name.length);
      if (rest === '') return { path, node: child };
      if (rest[0] !== '.' && rest[0] !== '[') continue;
      const found = find(child, rest[0] === '.' ? rest.slice(1) : rest, path);
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

/** Collects the names of a node: the property's name, and QEMU's. Elements have only the one. */
function namesOf({ name, wire }: TraceNode): ReadonlySet<string> {
  return new Set(name.startsWith('[') || wire === '' ? [plain(name)] : [plain(name), plain(wire)]);
}
