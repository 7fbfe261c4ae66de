import type { GuestName, Tab } from '../protocol.ts';
import type { Bundle } from './machine.ts';

type Step = { readonly name: string; readonly ms: number };

/** What tabs say to each other. `to` is a tab's id, or undefined: all. */
type Message =
  | { readonly kind: 'who' }
  | { readonly kind: 'here'; readonly tab: Tab }
  | { readonly kind: 'gone' }
  | { readonly kind: 'offer'; readonly guest: GuestName }
  | { readonly kind: 'accept' }
  | { readonly kind: 'bundle'; readonly bundle: Bundle; readonly steps: readonly Step[] }
  | { readonly kind: 'arrived'; readonly steps: readonly Step[] }
  | { readonly kind: 'failed'; readonly reason: string };

interface Envelope {
  readonly from: string;
  readonly to: string | undefined;
  readonly message: Message;
}

/** What this tab does for others. */
interface Receiver {
  /** Is there a place for this guest? Keeps it. Throws if not. */
  offered(guest: GuestName): void;
  /** Takes the guest over; answers the steps. Throws, and has left nothing behind, if it cannot. */
  arrive(bundle: Bundle, steps: readonly Step[]): Promise<readonly Step[]>;
  changed(tabs: readonly Tab[]): void;
}

const BEAT = 1000;
/** A tab that was not heard for so long is gone. A busy machine may keep a tab from its beats for some seconds. */
const SILENT = 15_000;

/** The other tabs of this page, on a channel of their own. */
export class Tabs {
  readonly id: string;
  readonly #channel = new BroadcastChannel('virtkit-tabs');
  readonly #receiver: Receiver;
  readonly #others = new Map<string, { readonly tab: Tab; readonly heard: number }>();
  /** Questions without an answer, by the tab that was asked. They end with its answer, or when it is gone. */
  readonly #waiting = new Map<string, { answer(message: Message): void; gone(): void }>();
  #self: Omit<Tab, 'id'> = { free: 0, guests: [] };

  constructor(id: string, receiver: Receiver) {
    this.id = id;
    this.#receiver = receiver;
    this.#channel.onmessage = ({ data }: MessageEvent<Envelope>) => {
      if (data.to === undefined || data.to === this.id) this.#take(data.from, data.message);
    };
    setInterval(() => this.#beat(), BEAT);
    this.#send(undefined, { kind: 'who' });
  }

  get others(): Tab[] {
    return [...this.#others.values()].map(({ tab }) => tab);
  }

  /** Tells the others what is here now. */
  tell(self: Omit<Tab, 'id'>): void {
    this.#self = self;
    this.#send(undefined, { kind: 'here', tab: { id: this.id, ...self } });
  }

  leave(): void {
    this.#send(undefined, { kind: 'gone' });
  }

  /** Asks for a place. @throws Error with the other tab's reason */
  async offer(to: string, guest: GuestName): Promise<void> {
    await this.#ask(to, { kind: 'offer', guest }, 'accept');
  }

  /** Sends a guest; answers what the other tab did for it. @throws Error if it has not arrived */
  async deliver(to: string, bundle: Bundle, steps: readonly Step[]): Promise<readonly Step[]> {
    const answer = await this.#ask(to, { kind: 'bundle', bundle, steps }, 'arrived');
    return answer.kind === 'arrived' ? answer.steps : [];
  }

  #ask(to: string, message: Message, wanted: 'accept' | 'arrived'): Promise<Message> {
    return new Promise((resolve, reject) => {
      if (!this.#others.has(to)) return reject(new Error(`tab ${to} is not there any more`));
      this.#waiting.set(to, {
        answer: (answer) => {
          if (answer.kind !== wanted && answer.kind !== 'failed') return;
          this.#waiting.delete(to);
          if (answer.kind === 'failed') reject(new Error(answer.reason));
          else resolve(answer);
        },
        gone: () => reject(new Error(`tab ${to} did not answer`)),
      });
      this.#send(to, message);
    });
  }

  #send(to: string | undefined, message: Message): void {
    this.#channel.postMessage({ from: this.id, to, message } satisfies Envelope);
  }

  #take(from: string, message: Message): void {
    if (message.kind === 'who') this.#send(from, { kind: 'here', tab: { id: this.id, ...this.#self } });
    else if (message.kind === 'here') this.#heard(message.tab);
    else if (message.kind === 'gone') this.#forget(from);
    else if (message.kind === 'offer') this.#answerOffer(from, message.guest);
    else if (message.kind === 'bundle') void this.#answerBundle(from, message);
    else this.#waiting.get(from)?.answer(message);
  }

  #heard(tab: Tab): void {
    const before = this.#others.get(tab.id);
    this.#others.set(tab.id, { tab, heard: performance.now() });
    if (JSON.stringify(before?.tab) !== JSON.stringify(tab)) this.#receiver.changed(this.others);
  }

  #answerOffer(from: string, guest: GuestName): void {
    try {
      this.#receiver.offered(guest);
      this.#send(from, { kind: 'accept' });
    } catch (error) {
      this.#send(from, { kind: 'failed', reason: reasonOf(error) });
    }
  }

  async #answerBundle(from: string, { bundle, steps }: Message & { kind: 'bundle' }): Promise<void> {
    try {
      this.#send(from, { kind: 'arrived', steps: await this.#receiver.arrive(bundle, steps) });
    } catch (error) {
      this.#send(from, { kind: 'failed', reason: reasonOf(error) });
    }
  }

  #beat(): void {
    this.tell(this.#self);
    const now = performance.now();
    for (const [id, { heard }] of this.#others) if (now - heard > SILENT) this.#forget(id);
  }

  #forget(id: string): void {
    if (!this.#others.delete(id)) return;
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    waiting?.gone();
    this.#receiver.changed(this.others);
  }
}

export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
