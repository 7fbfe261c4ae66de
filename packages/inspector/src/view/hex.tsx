import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { SectionRow } from '../model/types.ts';
import type { Controller } from './controller.ts';

interface Props {
  readonly controller: Controller;
  readonly section: SectionRow;
  readonly number: number;
  /** Bytes that are marked, as offsets in the stream. */
  readonly marked: { readonly start: number; readonly end: number } | undefined;
  readonly onByte: (at: number) => void;
}

/** Height of a row in pixels; the style sheet has the same. */
const ROW = 18;
/** Number of rows that are drawn above and below of what is seen. */
const AROUND = 4;
/** Largest height in pixels: browsers lay out nothing that is higher. */
const HEIGHT_MAX = 16_000_000;
/** Window width in pixels below which a row has 8 bytes and not 16. */
const NARROW = 760;

/** Table of a section's bytes. Only what is seen is drawn, and asked for. */
export function Hex({ controller, section, number, marked, onByte }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 300, width: 16 });
  const { offset, size } = section;
  const rows = Math.ceil(size / view.width);
  const height = Math.min(rows * ROW, HEIGHT_MAX);
  // where the rows are higher than what a browser lays out, a pixel of the bar is more than a pixel of rows
  const scale = height <= view.height ? 1 : (rows * ROW - view.height) / (height - view.height);
  const measure = (): void => {
    const element = box.current;
    if (element === null) return;
    const width = matchMedia(`(max-width: ${NARROW}px)`).matches ? 8 : 16;
    setView({ top: element.scrollTop, height: element.clientHeight, width });
  };
  useLayoutEffect(() => {
    measure();
    const watch = new ResizeObserver(measure);
    if (box.current !== null) watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  useEffect(() => {
    const element = box.current;
    if (element === null || marked === undefined) return;
    const row = Math.floor((marked.start - offset) / view.width);
    const top = (row * ROW) / scale;
    if (top < element.scrollTop || top > element.scrollTop + element.clientHeight - 2 * ROW)
      element.scrollTop = top - element.clientHeight / 3;
  }, [marked?.start, offset, view.width]);
  const first = Math.max(0, Math.floor((view.top * scale) / ROW) - AROUND);
  const last = Math.min(rows, first + Math.ceil(view.height / ROW) + 2 * AROUND);
  const shift = view.top * (1 - scale);
  const onKeyDown = (event: KeyboardEvent): void => {
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: view.width, ArrowUp: -view.width }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    const from = by > 0 && marked !== undefined && by === 1 ? marked.end - 1 : (marked?.start ?? offset);
    onByte(Math.min(Math.max(from + by, offset), offset + size - 1));
  };
  return (
    <div
      ref={box}
      class="hex"
      role="grid"
      aria-label="Bytes"
      aria-rowcount={rows}
      tabIndex={0}
      onScroll={measure}
      onKeyDown={onKeyDown}
    >
      <div class="hex-rows" role="rowgroup" style={{ height: `${height}px` }}>
        {Array.from({ length: Math.max(0, last - first) }, (_, n) => (
          <HexRow
            key={first + n}
            row={first + n}
            top={(first + n) * ROW + shift}
            width={view.width}
            controller={controller}
            section={section}
            number={number}
            marked={marked}
            onByte={onByte}
          />
        ))}
      </div>
    </div>
  );
}

interface HexRowProps extends Props {
  readonly row: number;
  readonly top: number;
  readonly width: number;
}

function HexRow({ row, top, width, controller, section, number, marked, onByte }: HexRowProps) {
  const { offset, size } = section;
  const start = offset + row * width;
  const places = Array.from({ length: Math.min(width, offset + size - start) }, (_, n) => start + n);
  const bytes = places.map((at) => controller.byte(number, at));
  const isMarked = (at: number): boolean => marked !== undefined && marked.start <= at && at < marked.end;
  return (
    <div class="hex-row" role="row" aria-rowindex={row + 1} style={{ top: `${top}px` }}>
      <span class="at" role="rowheader">
        {start.toString(16).padStart(8, '0')}
      </span>
      <span class="bytes" role="gridcell">
        {bytes.map((byte, n) => {
          const at = start + n;
          return (
            <span key={at} class={isMarked(at) ? 'marked' : undefined} onClick={() => onByte(at)}>
              {byte === undefined ? '··' : byte.toString(16).padStart(2, '0')}
            </span>
          );
        })}
      </span>
      <span class="text" role="gridcell">
        {bytes.map((byte, n) => (
          <span key={start + n} class={isMarked(start + n) ? 'marked' : undefined}>
            {byte !== undefined && byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.'}
          </span>
        ))}
      </span>
    </div>
  );
}
