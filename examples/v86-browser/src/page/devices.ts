import type { DeviceView, QueueView } from '../protocol.ts';
import { bytes, h, setText } from './dom.ts';
import { RingDial } from './rings.ts';

/** Views come ten times a second: a rate is what happened in so many of them. */
const WINDOW = 10;

const COLUMNS = ['', 'queue', 'avail', 'used', 'in flight', 'kicks/s', 'irqs/s'];

const TRAFFIC = {
  'virtio-blk': ['read', 'written'],
  'virtio-net': ['received', 'sent'],
} as const;

/** Rings and counters of a guest's devices. */
export class DevicesView {
  readonly element: HTMLTableElement = h('table', {
    class: 'devices',
    'aria-label': 'Queues of the devices',
  });
  #groups: DeviceGroup[] = [];
  #shape = '';

  update(devices: readonly DeviceView[]): void {
    const shape = devices.map(({ name, queues }) => `${name}/${queues.length}`).join();
    if (shape !== this.#shape) {
      this.#shape = shape;
      this.#groups = devices.map((device) => new DeviceGroup(device));
      const head = h('thead', {}, h('tr', {}, ...COLUMNS.map((name) => h('th', { scope: 'col' }, name))));
      const bodies = this.#groups.map(({ element }) => element);
      this.element.replaceChildren(...(bodies.length > 0 ? [head, ...bodies] : []));
    }
    devices.forEach((device, i) => {
      this.#groups[i]?.update(device);
    });
  }
}

class DeviceGroup {
  readonly element: HTMLTableSectionElement;
  readonly #traffic = h('span', { class: 'device-traffic' });
  readonly #rows: QueueRow[];

  constructor({ name, queues }: DeviceView) {
    this.#rows = queues.map((queue) => new QueueRow(queue.name));
    const title = h(
      'th',
      { class: 'device-head', scope: 'rowgroup', colspan: String(COLUMNS.length) },
      h('b', { class: 'device-name' }, name),
      this.#traffic,
    );
    this.element = h('tbody', {}, h('tr', {}, title), ...this.#rows.map(({ element }) => element));
  }

  update(device: DeviceView): void {
    const [into, out] = TRAFFIC[device.name];
    const running = device.status.includes('DRIVER_OK');
    const traffic = `${bytes(device.bytesIn)} ${into}, ${bytes(device.bytesOut)} ${out}`;
    setText(this.#traffic, running ? traffic : 'no driver yet');
    device.queues.forEach((queue, i) => {
      this.#rows[i]?.update(queue);
    });
  }
}

class QueueRow {
  readonly element: HTMLTableRowElement;
  readonly #dial = new RingDial();
  readonly #cells = COLUMNS.slice(2).map(() => h('td', {}));
  readonly #past: QueueView[] = [];

  constructor(name: string) {
    this.element = h(
      'tr',
      {},
      h('td', {}, this.#dial.canvas),
      h('th', { scope: 'row' }, name),
      ...this.#cells,
    );
  }

  update(queue: QueueView): void {
    this.#dial.draw(queue);
    // in another instance they count from 0
    const last = this.#past.at(-1) ?? queue;
    if (queue.kicks < last.kicks || queue.interrupts < last.interrupts) this.#past.length = 0;
    this.#past.push(queue);
    if (this.#past.length > WINDOW) this.#past.shift();
    const before = this.#past[0] ?? queue;
    const kicks = queue.kicks - before.kicks;
    const interrupts = queue.interrupts - before.interrupts;
    const values = [queue.avail, queue.used, `${queue.inFlight} of ${queue.size}`, kicks, interrupts];
    this.#cells.forEach((cell, i) => {
      setText(cell, String(values[i]));
    });
    this.element.classList.toggle('busy', kicks > 0 || interrupts > 0);
  }
}
