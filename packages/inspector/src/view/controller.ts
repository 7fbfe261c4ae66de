// What the page knows, and what it may ask for. Views draw it and call it; nothing else holds state of the stream.
import { proxy, type Remote, releaseProxy, wrap } from 'comlink';
import type { CheckAnswer, Question } from '../model/ask.ts';
import type { Pasted } from '../model/pasted.ts';
import type { Session } from '../model/session.ts';
import type { Overview, Progress, QueueChains, SectionDetail } from '../model/types.ts';
import { fragmentOf, type Route, routeOf } from './route.ts';

/** Phase of the inspector: nothing is open, something is being read, or something is. */
export type Phase =
  | { readonly at: 'empty' }
  | { readonly at: 'reading'; readonly name: string; readonly progress: Progress }
  | { readonly at: 'open'; readonly overview: Overview };

/** Number of bytes of a section in a page that is asked for; {@link PAGES_MAX} pages are kept. */
const PAGE_BYTES = 1 << 12;
const PAGES_MAX = 256;

/** Controller of one inspector: the page's side of it. */
export class Controller {
  phase: Phase = { at: 'empty' };
  /** Sentence about what went wrong outside of a stream; empty: nothing. */
  trouble = '';
  route: Route;
  /** Description of the machine that is asked about, as it was pasted; empty: none was. */
  machine = '';
  readonly #worker: Worker;
  readonly #session: Remote<Session>;
  readonly #listeners = new Set<() => void>();
  readonly #details = new Map<number, SectionDetail | 'asked'>();
  readonly #pages = new Map<string, Uint8Array | 'asked'>();
  /** Number of openings: answers of an earlier one are not for this one. */
  #opening = 0;
  readonly #onHash = (): void => {
    this.route = routeOf(location.hash);
    this.#tell();
  };

  constructor(worker: Worker) {
    this.#worker = worker;
    this.#session = wrap<Session>(worker);
    worker.addEventListener('error', (event) => {
      this.#fail(`the worker does not run: ${event.message}`);
    });
    this.route = routeOf(location.hash);
    addEventListener('hashchange', this.#onHash);
    addEventListener('popstate', this.#onHash);
  }

  /** Calls `listener` after each change, until the returned function is called. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  openFile(file: Blob, name: string): Promise<void> {
    return this.#read(name, (told) => this.#session.openFile(file, name, told));
  }

  openUrl(url: string, name: string): Promise<void> {
    const address = URL.canParse(url, document.baseURI) ? new URL(url, document.baseURI) : undefined;
    if (address?.origin !== location.origin) {
      this.#fail(`${url}: only files of ${location.origin} can be opened; this page asks nobody else`);
      return Promise.resolve();
    }
    return this.#read(name, (told) => this.#session.openUrl(address.href, name, told));
  }

  /** Gives up what is being read. */
  cancel(): void {
    this.#opening++;
    void this.#session.cancel();
    this.phase = { at: 'empty' };
    this.#tell();
  }

  async #read(name: string, read: (told: (progress: Progress) => void) => Promise<Overview>): Promise<void> {
    const opening = ++this.#opening;
    this.#details.clear();
    this.#pages.clear();
    this.trouble = '';
    this.phase = { at: 'reading', name, progress: { done: 0 } };
    this.#tell();
    const told = proxy((progress: Progress) => {
      if (opening !== this.#opening || this.phase.at !== 'reading') return;
      this.phase = { at: 'reading', name, progress };
      this.#tell();
    });
    try {
      const overview = await read(told);
      if (opening !== this.#opening) return;
      this.phase = { at: 'open', overview };
      if (this.route.page === 'section' && overview.sections[this.route.section] === undefined)
        this.go({ page: 'overview' });
      this.#tell();
    } catch (error) {
      if (opening !== this.#opening) return;
      this.phase = { at: 'empty' };
      this.#fail(error instanceof Error ? error.message : String(error));
    }
  }

  /** Shows another place. It is in the page's history, unless it takes the place of the one before. */
  go(route: Route, replace = false): void {
    const fragment = fragmentOf(route);
    if (replace) history.replaceState(history.state, '', fragment);
    else if (location.hash !== fragment) history.pushState(history.state, '', fragment);
    this.route = route;
    this.#tell();
  }

  /** Finds the fields of a section; undefined until they have come. */
  detail(section: number): SectionDetail | undefined {
    const known = this.#details.get(section);
    if (known === undefined) {
      this.#details.set(section, 'asked');
      void this.#ask(
        () => this.#session.detail(section),
        (detail) => this.#details.set(section, detail),
      );
    }
    return known === 'asked' ? undefined : known;
  }

  /** Finds a byte of a section, by its place in the stream; undefined until it has come. */
  byte(section: number, at: number): number | undefined {
    const page = Math.floor(at / PAGE_BYTES);
    const key = `${section}:${page}`;
    const known = this.#pages.get(key);
    if (known === undefined) {
      const [oldest] = this.#pages.keys();
      if (this.#pages.size >= PAGES_MAX && oldest !== undefined) this.#pages.delete(oldest);
      this.#pages.set(key, 'asked');
      void this.#ask(
        () => this.#page(section, page),
        (bytes) => this.#pages.set(key, bytes),
      );
    }
    return known === undefined || known === 'asked' ? undefined : known[at - page * PAGE_BYTES];
  }

  /** Asks for a page of bytes; those in front of the section's first one are zeros, and never shown. */
  async #page(section: number, page: number): Promise<Uint8Array> {
    const { phase } = this;
    const offset = phase.at === 'open' ? (phase.overview.sections[section]?.offset ?? 0) : 0;
    const start = page * PAGE_BYTES;
    const missing = Math.max(0, offset - start);
    const bytes = await this.#session.bytes(section, start + missing, PAGE_BYTES - missing);
    const whole = new Uint8Array(missing + bytes.length);
    whole.set(bytes, missing);
    return whole;
  }

  /** Answers whether a target will load the stream. */
  check(question: Question): Promise<CheckAnswer> {
    return this.#session.check(question);
  }

  /** Takes what a person pasted: bytes are opened, a machine is what is asked about. Answers what it was; undefined: why not is told. */
  async paste(text: string): Promise<Pasted | undefined> {
    this.trouble = '';
    this.#tell();
    try {
      const pasted = await this.#session.pasted(text);
      if (pasted.kind === 'bytes') {
        this.go({ page: 'overview' });
        await this.openFile(new Blob([pasted.bytes]), pasted.name);
      }
      if (pasted.kind === 'machine') this.askAbout(text);
      return pasted;
    } catch (error) {
      this.#fail(error instanceof Error ? error.message : String(error));
      return undefined;
    }
  }

  /** Has a machine asked about: at once where a stream is open, else as soon as one is. */
  askAbout(machine: string): void {
    this.machine = machine;
    if (this.phase.at === 'open') this.go({ page: 'check' });
    else this.#tell();
  }

  /** Follows the chains of a device's queue into the guest's memory. */
  chains(section: number, queue: number): Promise<QueueChains> {
    return this.#session.chains(section, queue);
  }

  /** Reads bytes of the guest's memory, or says why they cannot be had. */
  memory(address: number, length: number): Promise<Uint8Array | string> {
    return this.#session.memory(address, length);
  }

  /** Lists names of the targets that are known. */
  targetNames(): Promise<readonly string[]> {
    return this.#session.targets();
  }

  /** Writes the stream as JSON. */
  json(fields: boolean): Promise<string> {
    return this.#session.json(fields);
  }

  async #ask<T>(ask: () => Promise<T>, keep: (answer: T) => void): Promise<void> {
    const opening = this.#opening;
    try {
      const answer = await ask();
      if (opening !== this.#opening) return;
      keep(answer);
      this.#tell();
    } catch (error) {
      if (opening === this.#opening) this.#fail(error instanceof Error ? error.message : String(error));
    }
  }

  #fail(trouble: string): void {
    this.trouble = trouble;
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  /** Ends the worker. */
  close(): void {
    removeEventListener('hashchange', this.#onHash);
    removeEventListener('popstate', this.#onHash);
    this.#listeners.clear();
    this.#session[releaseProxy]();
    this.#worker.terminate();
  }
}
