import type { QueueView } from '../protocol.ts';

const SIZE = 30;
const RADIUS = 12;
const WIDTH = 4;
const TURN = 2 * Math.PI;

/**
 * A ring as a ring: its entries clockwise from the top, in the place where their index lies. Waiting ones (the driver has
 * made them available, the device has not taken them) and those in flight (taken, not given back) are coloured.
 */
export class RingDial {
  readonly canvas: HTMLCanvasElement = document.createElement('canvas');
  #drawn = '';

  constructor() {
    this.canvas.className = 'dial';
    this.canvas.setAttribute('aria-hidden', 'true');
  }

  draw({ size, avail, taken, inFlight }: QueueView): void {
    const drawn = `${avail} ${taken} ${inFlight} ${devicePixelRatio} ${theme()}`;
    // most rings stand still most of the time
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const context = this.#clear();
    if (context === null) return;
    const colors = getComputedStyle(this.canvas);
    const arc = (from: number, count: number, color: string): void => {
      if (count <= 0) return;
      const begin = ((from % size) / size) * TURN - TURN / 4;
      // one entry of 256 would not be seen
      const angle = Math.max((Math.min(count, size) / size) * TURN, 0.09);
      context.beginPath();
      context.arc(SIZE / 2, SIZE / 2, RADIUS, begin, begin + angle);
      context.strokeStyle = colors.getPropertyValue(color);
      context.lineWidth = WIDTH;
      context.stroke();
    };
    arc(0, size, '--track');
    arc(taken + 0x10000 - inFlight, inFlight, '--flight');
    arc(taken, (avail - taken) & 0xffff, '--waiting');
    this.#hand(context, (taken % size) / size, colors.getPropertyValue('--ink'));
  }

  /** Where the device stands. */
  #hand(context: CanvasRenderingContext2D, part: number, color: string): void {
    const angle = part * TURN - TURN / 4;
    const at = (radius: number): [number, number] => [
      SIZE / 2 + radius * Math.cos(angle),
      SIZE / 2 + radius * Math.sin(angle),
    ];
    context.beginPath();
    context.moveTo(...at(RADIUS - WIDTH));
    context.lineTo(...at(RADIUS + WIDTH / 2 + 1));
    context.strokeStyle = color;
    context.lineWidth = 1.5;
    context.stroke();
  }

  #clear(): CanvasRenderingContext2D | null {
    const pixels = Math.round(SIZE * devicePixelRatio);
    const { canvas } = this;
    if (canvas.width !== pixels) {
      canvas.width = pixels;
      canvas.height = pixels;
    }
    const context = canvas.getContext('2d');
    context?.setTransform(pixels / SIZE, 0, 0, pixels / SIZE, 0, 0);
    context?.clearRect(0, 0, SIZE, SIZE);
    return context;
  }
}

const dark = matchMedia('(prefers-color-scheme: dark)');
const theme = (): string => (dark.matches ? 'dark' : 'light');
