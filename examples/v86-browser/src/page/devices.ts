import type { DeviceView, QueueView } from '../protocol.ts';
import { bytes, h, setText } from './dom.ts';
import { RingDial } from './rings.ts';

/** Views come ten times a second; rates are over this many of them. */
const WINDOW = 10;

/** Rings and counters of a guest's devices. */
export class DevicesView {
  readonly element: HTMLElement = h('div', { class: 'devices' });
  #rows: DeviceRow[] = [];
  #shape = '';

  update(devices: readonly DeviceView[]): void {
    const shape = devices.map(({ name, queues }) => `${name}/${queues.length}`).join();
    if (shape !== this.#shape) {
      this.#shape = shape;
      this.#rows = devices.map((device) => new DeviceRow(device));
      this.element.replaceChildren(...this.#rows.map(({ element }) => element));
    }
    devices.forEach((device, i) => {
      this.#rows[i]?.update(device);
    });
  }
}

const WORDS = {
  'virtio-blk': { in: 'read', out: 'written', unit: 'requests' },
  'virtio-net': { in: 'received', out: 'sent', unit: 'frames' },
} as const;

class DeviceRow {
  readonly element: HTMLElement;
  readonly #status = h('span', { class: 'status' });
  readonly #in = h('span', { class: 'number' });
  readonly #out = h('span', { class: 'number' });
  readonly #queues: QueueCell[];
  readonly #words: (typeof WORDS)[keyof typeof WORDS];

  constructor({ name, queues }: DeviceView) {
    this.#words = WORDS[name];
    this.#queues = queues.map((queue) => new QueueCell(queue.name));
    this.element = h(
      'section',
      { class: 'device', 'aria-label': name },
      h('header', {}, h('h3', {}, name), this.#status),
      h('div', { class: 'queues' }, ...this.#queues.map(({ element }) => element)),
      h('p', { class: 'traffic' }, this.#in, this.#out),
    );
  }

  update(device: DeviceView): void {
    const words = this.#words;
    setText(this.#status, device.status.includes('DRIVER_OK') ? 'driver running' : 'no driver');
    setText(this.#in, `${bytes(device.bytesIn)} ${words.in} in ${device.countIn} ${words.unit}`);
    setText(this.#out, `${bytes(device.bytesOut)} ${words.out} in ${device.countOut}`);
    device.queues.forEach((queue, i) => {
      this.#queues[i]?.update(queue);
    });
  }
}

class QueueCell {
  readonly element: HTMLElement;
  readonly #dial = new RingDial();
  readonly #indices = h('dd', {});
  readonly #flight = h('dd', {});
  readonly #rates = h('dd', {});
  readonly #past: QueueView[] = [];

  constructor(name: string) {
    const line = (term: string, value: HTMLElement): HTMLElement => h('div', {}, h('dt', {}, term), value);
    this.element = h(
      'div',
      { class: 'queue' },
      this.#dial.canvas,
      h(
        'div',
        { class: 'facts' },
        h('h4', {}, name),
        h(
          'dl',
          {},
          line('avail, used', this.#indices),
          line('in flight', this.#flight),
          line('kicks, irqs', this.#rates),
        ),
      ),
    );
  }

  update(queue: QueueView): void {
    this.#dial.draw(queue);
    setText(this.#indices, `${queue.avail}, ${queue.used}`);
    setText(this.#flight, `${queue.inFlight} of ${queue.size}`);
    this.#past.push(queue);
    if (this.#past.length > WINDOW) this.#past.shift();
    const before = this.#past[0] ?? queue;
    // another instance counts from 0
    const rate = (now: number, then: number): number => Math.max(0, now - then);
    const kicks = rate(queue.kicks, before.kicks);
    const interrupts = rate(queue.interrupts, before.interrupts);
    setText(this.#rates, `${kicks}, ${interrupts} /s`);
    this.element.classList.toggle('busy', kicks > 0 || interrupts > 0);
  }
}
