import { FitAddon } from '@xterm/addon-fit';
import { type ITheme, Terminal } from '@xterm/xterm';
import { h } from './dom.ts';

const dark = matchMedia('(prefers-color-scheme: dark)');

const LIGHT: ITheme = {
  background: '#ffffff',
  foreground: '#22272b',
  cursor: '#0d9488',
  cursorAccent: '#ffffff',
  selectionBackground: '#cde8e4',
  black: '#22272b',
  red: '#b42318',
  green: '#2f7d32',
  yellow: '#9a6700',
  blue: '#1f5fbf',
  magenta: '#8a3fa0',
  cyan: '#0f766e',
  white: '#8b949b',
  scrollbarSliderBackground: '#22272b22',
  scrollbarSliderHoverBackground: '#22272b44',
  scrollbarSliderActiveBackground: '#22272b66',
  overviewRulerBorder: '#00000000',
};

const DARK: ITheme = {
  background: '#14181b',
  foreground: '#d7dcdf',
  cursor: '#2dd4bf',
  cursorAccent: '#14181b',
  selectionBackground: '#27474a',
  black: '#14181b',
  red: '#f28b82',
  green: '#8fd19e',
  yellow: '#e8c27a',
  blue: '#8ab4f8',
  magenta: '#d7a6e5',
  cyan: '#5fd3c4',
  white: '#d7dcdf',
  scrollbarSliderBackground: '#d7dcdf22',
  scrollbarSliderHoverBackground: '#d7dcdf44',
  scrollbarSliderActiveBackground: '#d7dcdf66',
  overviewRulerBorder: '#00000000',
};

/** The console of a guest. It goes where the guest goes. */
export class GuestTerminal {
  readonly element: HTMLElement = h('div', { class: 'terminal' });
  readonly #terminal: Terminal;
  readonly #fit = new FitAddon();
  #open = false;
  #replaying = false;

  /** @param leave the keyboard wants out: Tab belongs to the guest */
  constructor(label: string, onInput: (text: string) => void, leave: () => void) {
    this.#terminal = new Terminal({
      fontFamily:
        '"JetBrains Mono", ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace',
      fontSize: innerWidth < 480 ? 10 : 13,
      lineHeight: 1.15,
      cursorBlink: false,
      scrollback: 2000,
      theme: dark.matches ? DARK : LIGHT,
      minimumContrastRatio: 4.5,
      overviewRuler: { width: 8 },
    });
    this.#terminal.loadAddon(this.#fit);
    this.#terminal.onData((text) => {
      if (!this.#replaying) onInput(text);
    });
    this.#terminal.attachCustomKeyEventHandler((event) => {
      if (event.key !== 'F6') return true;
      if (event.type === 'keydown') leave();
      return false;
    });
    dark.addEventListener('change', () => {
      this.#terminal.options.theme = dark.matches ? DARK : LIGHT;
    });
    this.element.setAttribute('aria-label', `Console of ${label}. F6 leaves it.`);
    new ResizeObserver(() => this.fit()).observe(this.element);
  }

  /** Puts it into a place of the page. */
  moveTo(place: HTMLElement): void {
    if (this.element.parentElement === place) return;
    place.replaceChildren(this.element);
    if (!this.#open) this.#terminal.open(this.element);
    this.#open = true;
    this.fit();
  }

  get size(): { readonly rows: number; readonly columns: number } {
    return { rows: this.#terminal.rows, columns: this.#terminal.cols };
  }

  write(bytes: Uint8Array): void {
    this.#terminal.write(bytes);
  }

  /** Shows what was shown elsewhere. Questions in it, such as where the cursor is, were answered there. */
  show(bytes: Uint8Array): void {
    this.#terminal.reset();
    this.#replaying = true;
    this.#terminal.write(bytes, () => {
      this.#replaying = false;
    });
  }

  clear(): void {
    this.#terminal.reset();
  }

  focus(): void {
    this.#terminal.focus();
  }

  /** All that is on it, for tests and for those who copy. */
  get text(): string {
    const { active } = this.#terminal.buffer;
    const lines = Array.from({ length: active.length }, (_, y) => active.getLine(y)?.translateToString(true));
    return lines.join('\n').trimEnd();
  }

  fit(): void {
    if (this.#open && this.element.isConnected && this.element.clientHeight > 0) this.#fit.fit();
  }
}
