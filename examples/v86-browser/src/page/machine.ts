import { GUESTS, type GuestName, type Phase, type Slot, type SlotView } from '../protocol.ts';
import { DevicesView } from './devices.ts';
import { h, setText } from './dom.ts';

/** What a person can ask of an instance. */
export interface Actions {
  start(slot: Slot, guest: GuestName): void;
  move(slot: Slot): void;
  moveToTab(slot: Slot, anchor: HTMLElement): void;
  save(slot: Slot): void;
  restore(slot: Slot): void;
  stop(slot: Slot): void;
  latency(slot: Slot, ms: number): void;
  type(slot: Slot, text: string): void;
}

const PHASES: Readonly<Record<Phase, string>> = {
  empty: 'empty',
  loading: 'loading',
  booting: 'starting',
  running: 'running',
  stopped: 'stopped',
};

/** Things to see, typed into the console. */
const TRY: readonly {
  readonly label: string;
  readonly title: string;
  readonly command: (guest: GuestName) => string;
}[] = [
  {
    label: 'write and check',
    title: 'Writes random data to the disk, and compares the checksum of what it reads back, for ever',
    command: () => 'check\n',
  },
  {
    label: 'ping',
    title: 'Pings the other guest',
    command: (guest) => `ping ${GUESTS[guest === 'alice' ? 'bob' : 'alice'].address}\n`,
  },
  { label: 'stop', title: 'Interrupts what runs in the console (Ctrl-C)', command: () => '\x03' },
];

const LATENCIES = [0, 20, 100, 1000];

/** One instance of the emulator on the page: its guest's console, its devices, what can be done with it. */
export class MachinePanel {
  readonly element: HTMLElement;
  /** Where the console of the guest goes. */
  readonly screen: HTMLElement = h('div', { class: 'screen' });
  readonly #title = h('h2', {});
  readonly #phase = h('span', { class: 'phase' });
  readonly #devices = new DevicesView();
  readonly #buttons: Readonly<Record<'move' | 'tab' | 'save' | 'restore' | 'stop', HTMLButtonElement>>;
  readonly #try: HTMLElement;
  readonly #empty: HTMLElement;
  readonly #latency: HTMLSelectElement;
  readonly #slot: Slot;
  #shown = '';

  constructor(slot: Slot, actions: Actions) {
    this.#slot = slot;
    const button = (label: string, title: string, act: (anchor: HTMLElement) => void): HTMLButtonElement => {
      const element: HTMLButtonElement = h(
        'button',
        { type: 'button', title, onclick: () => act(element) },
        label,
      );
      return element;
    };
    this.#buttons = {
      move: button(
        slot === 0 ? 'Move →' : '← Move',
        'Moves the running guest to the other instance; a guest there comes here',
        () => actions.move(slot),
      ),
      tab: button('To a tab', 'Moves the running guest to another tab', (anchor) =>
        actions.moveToTab(slot, anchor),
      ),
      save: button('Save', 'Keeps the state of guest and disk in this browser', () => actions.save(slot)),
      restore: button('Restore', 'Goes back to the saved state', () => actions.restore(slot)),
      stop: button('Off', 'Ends the guest; its disk stays', () => actions.stop(slot)),
    };
    this.#buttons.move.classList.add('primary');
    this.#latency = h(
      'select',
      { onchange: () => actions.latency(slot, Number(this.#latency.value)) },
      ...LATENCIES.map((ms) => h('option', { value: String(ms) }, ms === 0 ? 'none' : `${ms} ms`)),
    );
    this.#try = h(
      'div',
      { class: 'try' },
      ...TRY.map(({ label, title, command }) =>
        button(label, title, () => {
          const guest = this.#guest;
          if (guest !== undefined) actions.type(slot, command(guest));
        }),
      ),
      h('label', {}, 'disk delay', this.#latency),
    );
    this.#empty = h(
      'div',
      { class: 'nobody' },
      h('p', {}, 'No guest here. Start one, or move one in.'),
      ...(['alice', 'bob'] as const).map((guest) =>
        button(`Start ${guest}`, `Starts ${guest} with her or his own disk`, () =>
          actions.start(slot, guest),
        ),
      ),
    );
    this.element = h(
      'section',
      { class: 'machine', 'aria-label': `Instance ${slot + 1}` },
      h(
        'header',
        {},
        h(
          'div',
          { class: 'who' },
          h('span', { class: 'instance' }, `Instance ${slot + 1}`),
          this.#title,
          this.#phase,
        ),
        h('div', { class: 'actions' }, ...Object.values(this.#buttons)),
      ),
      this.screen,
      this.#try,
      this.#devices.element,
    );
  }

  #guest: GuestName | undefined;

  /** @param elsewhere guests that run somewhere, so that they cannot be started here */
  update(view: SlotView, elsewhere: ReadonlySet<GuestName>): void {
    this.#devices.update(view.devices);
    const shown = JSON.stringify([view.phase, view.guest, view.saved, view.latency, [...elsewhere]]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    const { guest, phase } = view;
    this.#guest = guest;
    const running = phase === 'running';
    setText(this.#title, guest ?? '');
    setText(this.#phase, guest === undefined ? PHASES[phase] : `${GUESTS[guest].address} · ${PHASES[phase]}`);
    this.element.dataset['phase'] = phase;
    for (const [name, button] of Object.entries(this.#buttons))
      button.disabled = !(running && (name !== 'restore' || view.saved));
    this.#try.inert = !running;
    this.#latency.value = String(view.latency);
    if (phase === 'empty') {
      this.screen.replaceChildren(this.#empty);
      this.#empty.querySelectorAll('button').forEach((button, i) => {
        button.disabled = elsewhere.has(i === 0 ? 'alice' : 'bob');
      });
    }
  }

  get slot(): Slot {
    return this.#slot;
  }

  /** The keyboard leaves the console. */
  focus(): void {
    (this.#buttons.move.disabled ? this.#empty.querySelector('button') : this.#buttons.move)?.focus();
  }
}
