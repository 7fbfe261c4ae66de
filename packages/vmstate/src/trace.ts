/** One field in the bytes: what it is called, what it is, where it lies, what was in it. */
export interface TraceNode {
  /** Name of the state's property, or `[n]` for an element of an array. */
  readonly name: string;
  /** QEMU's name of the field in vmdesc. */
  wire: string;
  /** Type as in vmdesc: `uint32`, `buffer`, `struct`, … */
  readonly type: string;
  /** Offset of the field's first byte, in the whole input. */
  readonly start: number;
  /** Offset of the first byte behind the field. */
  end: number;
  /** Value that was read or written. */
  value: unknown;
  /** The fields of a structure, or the elements of an array, in order. */
  readonly children: TraceNode[];
  /** Declaration of a structure or a subsection; other fields have none. */
  vmsd?: TraceVmsd;
  /** Elements that the node stands for, where it is an array that is read as one value, or left out. */
  repeat?: number;
  /** True if the field has a condition. QEMU: it has `field_exists`. */
  conditional?: boolean;
  /** In a field with its length in front: `count` is that length, `content` are the bytes behind it. */
  part?: 'count' | 'content';
  /** True for a subsection of the enclosing vmsd: `start` is at its 0x05 byte. */
  readonly subsection: boolean;
}

/** Facts that a vmdesc tells of a structure besides its fields. */
export interface TraceVmsd {
  /** Name of the structure. QEMU: `VMStateDescription.name`. */
  readonly name: string;
  /** Version of the structure. */
  readonly version: number;
  /**
   * True if all elements of an array of it are laid out alike: no field has a condition, and there are no subsections.
   */
  readonly uniform?: boolean;
  /** The field's name, if this is a subsection that is a single field and no declaration. */
  readonly field?: string;
}

/** Collects {@link TraceNode}s while a declaration is decoded or encoded. */
export class Trace {
  /** The whole input: its children are the outermost fields. */
  readonly root: TraceNode;
  #open: TraceNode[];

  constructor(name = '', start = 0) {
    this.root = node(name, name, 'root', start, false);
    this.#open = [this.root];
  }

  /** Begins a field: what comes until {@link leave} is inside of it. */
  enter(name: string, wire: string, type: string, start: number, subsection = false): TraceNode {
    const child = node(name, wire, type, start, subsection);
    this.#open.at(-1)?.children.push(child);
    this.#open.push(child);
    return child;
  }

  /** Ends the field that was entered last in front of byte `end`, with its value. */
  leave(end: number, value: unknown): void {
    const done = this.#open.pop();
    if (done === undefined) return;
    done.end = end;
    done.value = value;
  }

  /** Node of the structure that is being decoded now. */
  get current(): TraceNode {
    return this.#open.at(-1) ?? this.root;
  }

  /** Remembers a point to come back to with {@link rewind}, for a layout that is tried and given up. */
  mark(): { readonly depth: number; readonly children: number } {
    return { depth: this.#open.length, children: this.current.children.length };
  }

  /** Forgets all that was entered since {@link mark}. */
  rewind(mark: { readonly depth: number; readonly children: number }): void {
    this.#open.length = mark.depth;
    this.current.children.length = mark.children;
  }
}

/** Types of nodes that have fields in them, or nothing. */
const GROUPS: ReadonlySet<string> = new Set(['struct', 'subsections']);

/** The node at `path` (as in errors: `queues[1].desc`), or undefined. */
export function nodeAt(root: TraceNode, path: string): TraceNode | undefined {
  if (path === '') return root;
  for (const child of root.children) {
    if (!path.startsWith(child.name)) continue;
    const rest = path.slice(child.name.length);
    if (rest !== '' && rest[0] !== '.' && rest[0] !== '[') continue;
    const found = nodeAt(child, rest[0] === '.' ? rest.slice(1) : rest);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Lists every node without children, with its path, in order of the bytes; groups in which nothing is are left out. */
export function* leaves(
  root: TraceNode,
  path = '',
): Generator<{ readonly path: string; readonly node: TraceNode }> {
  for (const child of root.children) {
    const here = nameIn(path, child);
    if (child.children.length > 0) yield* leaves(child, here);
    else if (child.end > child.start || !GROUPS.has(child.type)) yield { path: here, node: child };
  }
}

/** Joins the path of a node and the name of a node inside it. */
export function nameIn(path: string, { name }: Pick<TraceNode, 'name'>): string {
  return path === '' || name.startsWith('[') ? path + name : `${path}.${name}`;
}

function node(name: string, wire: string, type: string, start: number, subsection: boolean): TraceNode {
  return { name, wire, type, start, end: start, value: undefined, children: [], subsection };
}
