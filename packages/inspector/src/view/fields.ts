// Trees of fields: what of them belongs to a layer, what is seen, and which field has a byte.
import type { FieldNode, Layer } from '../model/types.ts';

/** Lists the fields of one layer, with the groups that they are in. */
export function ofLayer(fields: readonly FieldNode[], layer: Layer): FieldNode[] {
  return fields.flatMap((field) => {
    if (field.children.length === 0) return field.layer === layer ? [field] : [];
    const children = ofLayer(field.children, layer);
    return children.length === 0 ? [] : [{ ...field, children }];
  });
}

/** Finds the innermost field that has a byte. */
export function fieldAt(fields: readonly FieldNode[], at: number): FieldNode | undefined {
  const found = fields.find(({ start, end }) => start <= at && at < end);
  return found && (fieldAt(found.children, at) ?? found);
}

/** Finds the field at a path. */
export function fieldNamed(fields: readonly FieldNode[], path: string): FieldNode | undefined {
  for (const field of fields) {
    if (field.path === path) return field;
    const found = isInside(path, field) ? fieldNamed(field.children, path) : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Is the field with this path inside of a group? */
export function isInside(path: string, group: FieldNode): boolean {
  return path.startsWith(group.path) && /^[.[]/.test(path.slice(group.path.length));
}

/** Field of a tree, as it is drawn. */
export interface SeenField {
  readonly field: FieldNode;
  /** Depth in the tree, 1 for the outermost. */
  readonly level: number;
  /** True for a group whose fields are seen. */
  readonly isOpen: boolean;
}

/** Lists the fields that are seen, from top to bottom. */
export function seenFields(
  fields: readonly FieldNode[],
  isOpen: (group: FieldNode) => boolean,
  level = 1,
): SeenField[] {
  return fields.flatMap((field) => {
    const open = field.children.length > 0 && isOpen(field);
    return [{ field, level, isOpen: open }, ...(open ? seenFields(field.children, isOpen, level + 1) : [])];
  });
}
