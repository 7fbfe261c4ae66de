import type { Tab } from '../protocol.ts';
import { h } from './dom.ts';

/** Which tab? */
export class TabMenu {
  readonly #element = h('div', { class: 'menu', popover: 'auto', role: 'menu' });
  readonly #openTab: () => void;
  #pick: ((tab: string) => void) | undefined;
  #known: ReadonlySet<string> = new Set();

  constructor(openTab: () => void) {
    this.#openTab = openTab;
    document.body.append(this.#element);
    this.#element.addEventListener('keydown', (event) => this.#onKey(event));
  }

  open(anchor: HTMLElement, tabs: readonly Tab[], pick: (tab: string) => void): void {
    const item = (label: string, act: () => void, disabled = false): HTMLElement =>
      h(
        'button',
        {
          type: 'button',
          role: 'menuitem',
          disabled,
          onclick: () => {
            this.#element.hidePopover();
            act();
          },
        },
        label,
      );
    this.#element.replaceChildren(
      ...tabs.map(({ id, free }) =>
        item(free > 0 ? `Tab ${id}` : `Tab ${id} (full)`, () => pick(id), free === 0),
      ),
      item('A new tab', () => {
        this.#known = new Set(tabs.map(({ id }) => id));
        this.#pick = pick;
        this.#openTab();
      }),
    );
    const { left, bottom } = anchor.getBoundingClientRect();
    this.#element.style.left = `${Math.min(left, innerWidth - 200)}px`;
    this.#element.style.top = `${bottom + 4}px`;
    this.#element.showPopover();
    this.#element.querySelector('button')?.focus();
  }

  /** Arrows go through the menu. */
  #onKey(event: KeyboardEvent): void {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const items = [...this.#element.querySelectorAll<HTMLButtonElement>('button:enabled')];
    const at = items.findIndex((item) => item.matches(':focus'));
    items.at((at + step) % items.length)?.focus();
  }

  /** A tab that was opened for a guest gets it as soon as it is there. */
  changed(tabs: readonly Tab[]): void {
    const fresh = tabs.find(({ id, free }) => !this.#known.has(id) && free > 0);
    if (fresh === undefined || this.#pick === undefined) return;
    const pick = this.#pick;
    this.#pick = undefined;
    pick(fresh.id);
  }
}
