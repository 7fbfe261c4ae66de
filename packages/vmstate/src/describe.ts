import type { TraceNode } from './trace.ts';

/** A vmsd as QEMU's vmdesc JSON has it. Keys in QEMU's order. */
export interface VmsdDescription {
  readonly vmsd_name: string;
  readonly version: number;
  readonly fields: readonly FieldDescription[];
  readonly subsections?: readonly VmsdDescription[];
}

/** A field as QEMU's vmdesc JSON has it. Keys in QEMU's order. */
export interface FieldDescription {
  readonly name: string;
  readonly array_len?: number;
  readonly index?: number;
  readonly type: string;
  readonly struct?: VmsdDescription;
  /** Bytes taken; of one element where `array_len` is there. */
  readonly size: number;
}

/**
 * The vmdesc of a structure that was decoded or encoded with a trace: what QEMU writes about it at the end of a stream.
 * Serialise with {@link vmdescText} to get QEMU's own spacing.
 */
export function describe(node: TraceNode): VmsdDescription {
  const subsections = node.children.filter((child) => child.subsection).map(describe);
  const fields = node.children.filter((child) => !child.subsection).flatMap(describeField);
  const { name, version } = node.vmsd ?? { name: node.wire, version: 1 };
  return { vmsd_name: name, version, fields, ...(subsections.length > 0 && { subsections }) };
}

function describeField(node: TraceNode): readonly FieldDescription[] {
  const elements = node.children.filter((child) => child.name.startsWith('['));
  if (elements.length === 0) return [describeOne(node, node.wire, node.end - node.start)];
  const described = elements.map((element) => describeOne(element, node.wire, element.end - element.start));
  const [first] = described;
  if (first === undefined) return [];
  if (described.length === 1) return [first];
  const same = JSON.stringify(first);
  // QEMU compresses an array when all elements are laid out alike
  if (described.every((element) => JSON.stringify(element) === same)) {
    const { name, ...others } = first;
    return [{ name, array_len: described.length, ...others }];
  }
  return described.map(({ name, ...others }, index) => ({ name, index, ...others }));
}

function describeOne(node: TraceNode, name: string, size: number): FieldDescription {
  return { name, type: node.type, ...(node.type === 'struct' && { struct: describe(node) }), size };
}

/** JSON text in QEMU's spacing: `", "` and `": "`. */
export function vmdescText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(vmdescText).join(', ')}]`;
  if (typeof value === 'object' && value !== null) {
    return `{${Object.entries(value)
      .map(([key, item]) => `${JSON.stringify(key)}: ${vmdescText(item)}`)
      .join(', ')}}`;
  }
  return JSON.stringify(value);
}
