import { useEffect, useRef } from 'preact/hooks';
import { CELL, type RamBlockMap } from '../model/types.ts';
import { inUnits } from './units.ts';

/** Number of cells in a row of the picture. */
const COLUMNS = 256;
/** Largest number of rows: larger blocks have several cells of the model in one of the picture. */
const ROWS_MAX = 16;

/** Picture of a block of RAM: a square for each piece of it, from left to right and top to bottom. */
export function RamMap({ block }: { readonly block: RamBlockMap }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { cells, cellBytes } = block;
  const each = Math.max(1, Math.ceil(cells.length / (COLUMNS * ROWS_MAX)));
  const count = Math.ceil(cells.length / each);
  const rows = Math.ceil(count / COLUMNS);
  useEffect(() => {
    const element = canvas.current;
    if (element === null) return;
    draw(element, cells, each);
    // the colours are those of the page
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    const again = (): void => draw(element, cells, each);
    scheme.addEventListener('change', again);
    return () => scheme.removeEventListener('change', again);
  }, [cells, each]);
  const sent = cells.reduce((sum, cell) => sum + Number((cell & CELL.CONTENT) !== 0), 0);
  const zero = cells.reduce((sum, cell) => sum + Number(cell === CELL.ZERO), 0);
  return (
    <canvas
      ref={canvas}
      class="ram"
      width={Math.min(count, COLUMNS)}
      height={rows}
      style={{ width: `${(100 * Math.min(count, COLUMNS)) / COLUMNS}%`, height: `${8 * rows}px` }}
      role="img"
      aria-label={`${block.name}: ${inUnits(sent * cellBytes)} sent, ${inUnits(zero * cellBytes)} zero, of ${inUnits(block.length)}`}
    />
  );
}

function draw(canvas: HTMLCanvasElement, cells: Uint8Array, each: number): void {
  const context = canvas.getContext('2d');
  if (context === null) return;
  const style = getComputedStyle(canvas);
  const color = (name: string): string => style.getPropertyValue(name);
  const [content, zero, absent] = [color('--content'), color('--zero'), color('--absent')];
  for (let n = 0; n * each < cells.length; n++) {
    const what = cells.subarray(n * each, (n + 1) * each).reduce((sum, cell) => sum | cell, 0);
    context.fillStyle = (what & CELL.CONTENT) !== 0 ? content : what === CELL.ZERO ? zero : absent;
    context.fillRect(n % COLUMNS, Math.floor(n / COLUMNS), 1, 1);
  }
}
