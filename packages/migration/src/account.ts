import type { Facts } from '@virtkit/vmstate';
import type { SectionHeader } from './events.ts';
import { streamFinding } from './finding.ts';
import type { StreamContext } from './structures.ts';
import type { DescDevice, Vmdesc } from './vmdesc-model.ts';
import { be32 } from './wire.ts';

/** Largest number of findings that are reported of one vmdesc. */
const REPORTS_MAX = 16;

/** Comparison of a stream's sections with its vmdesc: every section is there, in that order, and no other. */
export class Account {
  readonly #devices: readonly DescDevice[];
  readonly #context: StreamContext;
  /** Indices in the vmdesc of each name and instance, in order. */
  readonly #places = new Map<string, { readonly indices: number[]; taken: number }>();
  #next = 0;
  #reports = 0;

  constructor({ devices }: Vmdesc, context: StreamContext) {
    this.#devices = devices;
    this.#context = context;
    for (const [index, device] of devices.entries()) {
      const key = keyOf(device.name, device.instance_id);
      const place = this.#places.get(key);
      if (place === undefined) this.#places.set(key, { indices: [index], taken: 0 });
      else place.indices.push(index);
    }
    // sections in front of RAM's end have gone by
    for (const header of context.earlier) this.take(header);
  }

  /** Takes the vmdesc's entry of the section that comes next in the stream. */
  take(header: SectionHeader): DescDevice | undefined {
    const { idstr, instanceId, offset } = header;
    const place = this.#places.get(keyOf(idstr, instanceId));
    const index = place?.indices[place.taken];
    if (place === undefined || index === undefined || index < this.#next) {
      const reason = `the vmdesc does not have this section here: it has ${this.#nameOf(this.#next)}`;
      this.report('vmdesc-section', idstr, reason, { section: idstr, instance: instanceId }, offset);
      return undefined;
    }
    place.taken++;
    if (index > this.#next) {
      const missing = index - this.#next;
      const reason = `the vmdesc has ${missing} sections in front of this one that the stream does not have, first ${this.#nameOf(this.#next)}`;
      this.report('vmdesc-missing', idstr, reason, { section: idstr, missing }, offset);
    }
    this.#next = index + 1;
    return this.#devices[index];
  }

  /** Does the header at `at` have the name and the instance of the next entry? */
  isNext(bytes: Uint8Array, at: number): boolean {
    const device = this.#devices[this.#next];
    const { name = '' } = device ?? {};
    const length = bytes[at + 5] ?? 0;
    if (device === undefined || length !== name.length) return false;
    for (let i = 0; i < length; i++) if (bytes[at + 6 + i] !== name.charCodeAt(i)) return false;
    return be32(bytes, at + 6 + length) === device.instance_id;
  }

  /** Ends the comparison at the end of the stream. */
  end(offset: number): void {
    const missing = this.#devices.length - this.#next;
    if (missing === 0) return;
    const reason = `the vmdesc has ${missing} sections more than the stream, first ${this.#nameOf(this.#next)}`;
    this.report('vmdesc-missing', 'vmdesc', reason, { missing }, offset);
  }

  report(code: string, path: string, reason: string, facts: Facts, offset: number): void {
    if (++this.#reports > REPORTS_MAX) return;
    this.#context.sink.finding?.(streamFinding(code, path, reason, facts, offset));
  }

  #nameOf(index: number): string {
    const device = this.#devices[index];
    return device === undefined ? 'no more' : `"${device.name ?? ''}" ${device.instance_id ?? 0}`;
  }
}

function keyOf(name = '', instance = 0): string {
  return `${name}/${instance}`;
}
