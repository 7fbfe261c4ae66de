import { useEffect, useRef, useState } from 'preact/hooks';
import type { FieldNode } from '../model/types.ts';
import { isInside, type SeenField, seenFields } from './fields.ts';

interface Props {
  readonly label: string;
  readonly fields: readonly FieldNode[];
  /** Path of the field that is selected, wherever it is. */
  readonly selected: string | undefined;
  /** Paths of fields with something wrong. */
  readonly wrong: ReadonlySet<string>;
  readonly onSelect: (path: string) => void;
}

/** Largest number of fields of a group that is open at first. */
const OPEN_MAX = 16;

/** Tree of fields: arrows move, right and left open and close. */
export function Tree({ label, fields, selected, wrong, onSelect }: Props) {
  const [turned, setTurned] = useState<ReadonlyMap<string, boolean>>(new Map());
  const tree = useRef<HTMLUListElement>(null);
  const isOpen = (group: FieldNode): boolean =>
    turned.get(group.path) ??
    ((selected !== undefined && isInside(selected, group)) || group.children.length <= OPEN_MAX);
  const seen = seenFields(fields, isOpen);
  const turn = ({ path }: FieldNode, open: boolean): void => setTurned(new Map(turned).set(path, open));
  const at = seen.findIndex(({ field }) => field.path === selected);
  useEffect(() => {
    // only where it was selected elsewhere: what is clicked is seen
    tree.current?.querySelector('[aria-selected=true]')?.scrollIntoView({ block: 'nearest' });
  }, [selected]);
  const onKeyDown = (event: KeyboardEvent): void => {
    const step = stepOf(event.key, seen, Math.max(at, 0), turn);
    if (step === undefined) return;
    event.preventDefault();
    const next = seen[step];
    if (next === undefined) return;
    onSelect(next.field.path);
    (tree.current?.children[step] as HTMLElement | undefined)?.focus();
  };
  return (
    <ul class="tree" role="tree" aria-label={label} ref={tree} onKeyDown={onKeyDown}>
      {seen.map((row, index) => (
        <Row
          key={row.field.path}
          row={row}
          isSelected={index === at}
          isStop={index === Math.max(at, 0)}
          isWrong={wrong.has(row.field.path)}
          onSelect={onSelect}
          onTurn={turn}
        />
      ))}
    </ul>
  );
}

/** Finds the row that a key leads to; undefined: the key is not for the tree. */
function stepOf(
  key: string,
  seen: readonly SeenField[],
  at: number,
  turn: (field: FieldNode, open: boolean) => void,
): number | undefined {
  const row = seen[at];
  if (row === undefined) return undefined;
  switch (key) {
    case 'ArrowDown':
      return Math.min(at + 1, seen.length - 1);
    case 'ArrowUp':
      return Math.max(at - 1, 0);
    case 'Home':
      return 0;
    case 'End':
      return seen.length - 1;
    case 'ArrowRight':
      if (row.field.children.length > 0 && !row.isOpen) turn(row.field, true);
      return at;
    case 'ArrowLeft':
      if (row.isOpen) turn(row.field, false);
      return row.isOpen ? at : seen.findLastIndex(({ level }, index) => index < at && level < row.level);
    default:
      return undefined;
  }
}

interface RowProps {
  readonly row: SeenField;
  readonly isSelected: boolean;
  readonly isStop: boolean;
  readonly isWrong: boolean;
  readonly onSelect: (path: string) => void;
  readonly onTurn: (field: FieldNode, open: boolean) => void;
}

function Row({ row: { field, level, isOpen }, isSelected, isStop, isWrong, onSelect, onTurn }: RowProps) {
  const group = field.children.length > 0;
  const click = (): void => {
    onSelect(field.path);
    if (group) onTurn(field, !isOpen);
  };
  return (
    <li
      role="treeitem"
      tabIndex={isStop ? 0 : -1}
      aria-level={level}
      aria-selected={isSelected}
      aria-expanded={group ? isOpen : undefined}
      class={`${field.layer}${isWrong ? ' wrong' : ''}`}
      style={{ paddingLeft: `${4 + 14 * (level - 1)}px` }}
      onClick={click}
    >
      <span class="turn" aria-hidden="true">
        {group ? (isOpen ? '▾' : '▸') : ''}
      </span>
      <span class="name">{field.name}</span>
      {field.value !== undefined && <span class="value">{field.value}</span>}
      {field.means !== undefined && <span class="means">{field.means}</span>}
      {group && !isOpen && <span class="means">{field.children.length} fields</span>}
      {isWrong && <span class="badge">does not fit</span>}
    </li>
  );
}
