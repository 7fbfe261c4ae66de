import type { TraceNode } from './trace.ts';

/** Description of a structure as QEMU's vmdesc JSON has it. Keys are in QEMU's order. */
export interface VmsdDescription {
  /** Name of the structure. QEMU: `VMStateDescription.name`. */
  readonly vmsd_name: string;
  /** Version of the structure. */
  readonly version: number;
  /** Fields of the structure in the order of the wire. */
  readonly fields: readonly FieldDescription[];
  /** Subsections that are there. */
  readonly subsections?: readonly VmsdDescription[];
}

/** Description of a field as QEMU's vmdesc JSON has it. Keys are in QEMU's order. */
export interface FieldDescription {
  /** QEMU's name of the field. */
  readonly name: string;
  /** Elements that this entry stands for; absent: 1. */
  readonly array_len?: number;
  /**
   * Index of the element of an array that the entry describes; absent: it describes all of them, or the field is no
   * array.
   */
  readonly index?: number;
  /** Type of the field: `uint32`, `buffer`, `struct`, … */
  readonly type: string;
  /** Structure of the elements, where the type is `struct`. */
  readonly struct?: VmsdDescription;
  /**
   * Elements of a list. QEMU writes the members of each straight into the field, so that keys repeat; {@link
   * vmdescText} does so, too.
   */
  readonly elements?: readonly VmsdDescription[];
  /** Number of bytes that the field takes, or one element of it where `array_len` is there. */
  readonly size: number;
}

/** Options for what versions of QEMU describe differently. */
export interface DescribeOptions {
  /** Type of a null pointer in an array: `nullptr` in QEMU 10, `ptr-marker` in 11. */
  readonly nullType?: 'nullptr' | 'ptr-marker';
}

/**
 * The vmdesc of a structure that was decoded or encoded with a trace: what QEMU writes about it at the end of a stream.
 * Serialise with {@link vmdescText} to get QEMU's own spacing.
 */
export function describe(node: TraceNode, options: DescribeOptions = {}): VmsdDescription {
  const { name, version, field } = node.vmsd ?? { name: node.wire, version: 1 };
  const subsections = node.children
    .filter((child) => child.subsection)
    .map((child) => describe(child, options));
  const fields =
    field === undefined
      ? node.children.filter((child) => !child.subsection).flatMap((child) => describeField(child, options))
      : describeField(withoutHeader(node, field), options);
  return { vmsd_name: name, version, fields, ...(subsections.length > 0 && { subsections }) };
}

/** Turns a subsection that is a single field into that field: without type byte, counted name and be32 version. */
function withoutHeader(node: TraceNode, wire: string): TraceNode {
  return { ...node, wire, subsection: false, start: node.start + 6 + node.wire.length };
}

const LISTS: ReadonlySet<string> = new Set(['qtailq', 'qlist']);

function describeField(node: TraceNode, options: DescribeOptions): readonly FieldDescription[] {
  const isList = LISTS.has(node.type) && !node.children.some(({ type }) => LISTS.has(type));
  if (isList) return [describeList(node, node.wire, options)];
  const [count, content] = node.children;
  const elements = elementsOf(node);
  const isOpen = content === undefined || content.type === node.type || elements.length > 0;
  if (count?.part === 'count' && isOpen) {
    const own = content?.part === 'content' ? [describeOne(content, node.wire, options)] : [];
    return [describeOne(count, count.wire, options), ...own, ...describeArray(node, elements, options)];
  }
  if (elements.length > 0) return describeArray(node, elements, options);
  const isEmptyArray = Array.isArray(node.value) && node.end === node.start;
  return isEmptyArray ? [] : [describeOne(node, node.wire, options)];
}

/**
 * Lists the elements of an array, those of arrays in arrays in one row. A type of its own hides what is inside: `pci
 * irq state`.
 */
function elementsOf(node: TraceNode): readonly TraceNode[] {
  const elements = node.children.filter(({ name }) => name.startsWith('['));
  return elements.some(({ type }) => type === node.type || type === 'absent' || LISTS.has(type))
    ? elements.flatMap((element) => {
        const inner = element.type === 'struct' || LISTS.has(element.type) ? [] : elementsOf(element);
        return inner.length > 0 ? inner : [element];
      })
    : [];
}

function describeArray(
  node: TraceNode,
  elements: readonly TraceNode[],
  options: DescribeOptions,
): readonly FieldDescription[] {
  // an array of lists is a field for each in QEMU, and fields of the same name are numbered
  if (elements.some(({ type }) => LISTS.has(type)))
    return elements.map((list, index) => describeList(list, `${node.wire}[${index}]`, options));
  const total = elements.reduce((sum, { repeat = 1 }) => sum + repeat, 0);
  const described: FieldDescription[] = [];
  for (let at = 0; at < elements.length; ) {
    const run = runAt(elements, at);
    described.push(...describeRun(node, run, at, total, options));
    at += run.length;
  }
  return described;
}

/**
 * Takes the elements of the same kind, null or not, from the given one on. What a sparse array left out is like what is
 * in front.
 */
function runAt(elements: readonly TraceNode[], from: number): readonly TraceNode[] {
  const isNull = ({ value }: TraceNode): boolean => value === null;
  const [first] = elements.slice(from, from + 1);
  const end = elements.findIndex(
    (element, index) => index > from && first !== undefined && isNull(element) !== isNull(first),
  );
  return elements.slice(from, end < 0 ? elements.length : end);
}

function describeRun(
  node: TraceNode,
  run: readonly TraceNode[],
  from: number,
  total: number,
  options: DescribeOptions,
): readonly FieldDescription[] {
  const [first] = run;
  if (first === undefined) return [];
  const count = run.reduce((sum, { repeat = 1 }) => sum + repeat, 0);
  const one = (element: TraceNode): Omit<FieldDescription, 'name'> => {
    const { name: _name, array_len: _count, ...rest } = describeOne(element, node.wire, options);
    // of an element that was left out, only the share of bytes is known
    if (element.type === 'absent')
      return { type: node.type, size: (element.end - element.start) / (element.repeat ?? 1) };
    return element.value === null ? { type: options.nullType ?? 'nullptr', size: rest.size } : rest;
  };
  const { wire: name } = node;
  if (total === 1 || count === 1) {
    const index = total > 1 && !isUniform(node, first) ? { index: from } : {};
    return [{ name, ...index, ...one(first) }];
  }
  if (isUniform(node, first)) return [{ name, array_len: count, ...one(first) }];
  return run.map((element, index) => ({ name, index: from + index, ...one(element) }));
}

/** Do all elements look alike, whatever is in them? Then QEMU describes the first one only. */
function isUniform(array: TraceNode, element: TraceNode): boolean {
  return array.conditional !== true && element.vmsd?.uniform !== false;
}

function describeOne(node: TraceNode, name: string, options: DescribeOptions): FieldDescription {
  const size = node.end - node.start;
  const { type, repeat } = node;
  if (repeat !== undefined) return { name, array_len: repeat, type, size: size / repeat };
  return { name, type, ...(type === 'struct' && { struct: describe(node, options) }), size };
}

function describeList(node: TraceNode, name: string, options: DescribeOptions): FieldDescription {
  const elements = node.children
    .filter((child) => child.type === 'struct')
    .map((child) => describe(child, options));
  return { name, type: node.type, ...(elements.length > 0 && { elements }), size: node.end - node.start };
}

/** JSON text in QEMU's spacing: `", "` and `": "`. */
export function vmdescText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(vmdescText).join(', ')}]`;
  if (typeof value === 'object' && value !== null) return `{${membersText(value)}}`;
  return JSON.stringify(value);
}

function membersText(value: object): string {
  return Object.entries(value)
    .map(([key, item]) =>
      key === 'elements' && Array.isArray(item)
        ? item.map(membersText).join(', ')
        : `${JSON.stringify(key)}: ${vmdescText(item)}`,
    )
    .join(', ');
}
