import type { Platform, Watch } from '@virtkit/linux';
import { Refusal } from '../errors.ts';
import { IRQ, IRQ_FLAG, IRQ_TYPES, SET_IRQS } from '../wire/commands.ts';

/** Type of interrupts, as DEVICE_GET_IRQ_INFO tells it. */
export interface IrqInfo {
  readonly flags: number;
  /** Number of interrupts of the type; 0: none. */
  readonly count: number;
}

/** Request of DEVICE_SET_IRQS, read and in range. */
export interface IrqRequest {
  readonly index: number;
  readonly start: number;
  readonly count: number;
  /** Action that is asked for, one of those of {@link SET_IRQS}. */
  readonly action: number;
  /** Flags of the interrupts of the range that are meant; undefined: all of them. */
  readonly chosen: Uint8Array | undefined;
  /**
   * Eventfds that came with `DATA_EVENTFD`: one for each interrupt of the range, or none to take those there were away.
   */
  readonly eventfds: number[] | undefined;
}

/** Interrupts of one function, by the eventfds that its client has handed over. */
export class Interrupts {
  readonly #platform: Platform;
  readonly #vectors: number;
  /** Function that is told that a vector that had no eventfd has one. */
  readonly #ready: (vector: number) => void;
  /** Eventfds of MSI-X messages, by vector. */
  readonly #msix = new Map<number, number>();
  #intx: number | undefined;
  /** Eventfd of errors: kept, and never signalled. */
  #error: number | undefined;
  /** Level of the line as the function has it. */
  #level = false;
  /** True if nothing is signalled until the client unmasks: by its command, or since the last signal. */
  #masked = false;
  /** Eventfd by which the client unmasks. */
  #unmask: { readonly fd: number; readonly watch: Watch } | undefined;

  constructor(platform: Platform, vectors: number, ready: (vector: number) => void) {
    this.#platform = platform;
    this.#vectors = vectors;
    this.#ready = ready;
  }

  /** Describes a type of interrupts; undefined for a type that does not exist. */
  info(index: number): IrqInfo | undefined {
    if (index >= IRQ_TYPES) return undefined;
    if (index === IRQ.INTX)
      return { flags: IRQ_FLAG.EVENTFD | IRQ_FLAG.MASKABLE | IRQ_FLAG.AUTOMASKED, count: 1 };
    // QEMU complains of a function that cannot tell of errors; no error ever happens here
    if (index === IRQ.ERR) return { flags: IRQ_FLAG.EVENTFD, count: 1 };
    if (index === IRQ.MSIX) return { flags: IRQ_FLAG.EVENTFD, count: this.#vectors };
    return { flags: 0, count: 0 };
  }

  // What the function does

  /** Sets the level of the INTA line. */
  setIntx(level: boolean): void {
    this.#level = level;
    this.#signalIntx();
  }

  /** Sends an MSI-X message. Answers false if the client has no eventfd for it now. */
  sendVector(vector: number): boolean {
    const fd = this.#msix.get(vector);
    if (fd === undefined) return false;
    this.#platform.signal(fd);
    return true;
  }

  #signalIntx(): void {
    if (!this.#level || this.#masked || this.#intx === undefined) return;
    this.#masked = true;
    this.#platform.signal(this.#intx);
  }

  #setMasked(masked: boolean): void {
    this.#masked = masked;
    this.#signalIntx();
  }

  // What the client asks

  /**
   * Carries out DEVICE_SET_IRQS.
   *
   * @throws Refusal for what this type of interrupt does not have
   * @throws PeerError for what is no eventfd
   */
  set(request: IrqRequest): void {
    const { index, count, action, eventfds } = request;
    for (const fd of eventfds ?? []) this.#platform.checkEventfd(fd);
    if (action === SET_IRQS.TRIGGER) {
      // no data, and nothing named: all are switched off
      if (count === 0) this.#release(index);
      else if (eventfds !== undefined) this.#assign(request, eventfds.splice(0));
      else this.#trigger(request);
      return;
    }
    if (index !== IRQ.INTX)
      throw new Refusal('ENOTSUP', `DEVICE_SET_IRQS: interrupts of type ${index} are not masked here`, {
        index,
      });
    if (eventfds !== undefined) this.#assignUnmask(action, eventfds.splice(0));
    else if (isChosen(request, 0)) this.#setMasked(action === SET_IRQS.MASK);
  }

  #assign({ index, start, count }: IrqRequest, eventfds: readonly number[]): void {
    for (let i = 0; i < count; i++) {
      const fd = eventfds[i];
      if (index === IRQ.INTX) this.#assignIntx(fd);
      else if (index === IRQ.ERR) this.#assignError(fd);
      else this.#assignVector(start + i, fd);
    }
  }

  #assignIntx(fd: number | undefined): void {
    if (this.#intx !== undefined) this.#platform.close(this.#intx);
    this.#intx = fd;
    // whoever begins to listen hears of a line that is up
    this.#setMasked(false);
  }

  #assignError(fd: number | undefined): void {
    if (this.#error !== undefined) this.#platform.close(this.#error);
    this.#error = fd;
  }

  #assignVector(vector: number, fd: number | undefined): void {
    const before = this.#msix.get(vector);
    if (before !== undefined) this.#platform.close(before);
    if (fd === undefined) {
      this.#msix.delete(vector);
      return;
    }
    this.#msix.set(vector, fd);
    this.#ready(vector);
  }

  #assignUnmask(action: number, eventfds: readonly number[]): void {
    const [fd] = eventfds;
    if (action !== SET_IRQS.UNMASK) {
      if (fd !== undefined) this.#platform.close(fd);
      throw new Refusal('ENOTSUP', 'DEVICE_SET_IRQS: no eventfd masks here');
    }
    this.#forgetUnmask();
    if (fd === undefined) return;
    const watch = this.#platform.watch(fd, () => {
      if (this.#platform.clear(fd)) this.#setMasked(false);
    });
    this.#unmask = { fd, watch };
  }

  #forgetUnmask(): void {
    if (this.#unmask === undefined) return;
    this.#unmask.watch.close();
    this.#platform.close(this.#unmask.fd);
    this.#unmask = undefined;
  }

  /** Triggers interrupts, since the client tries them. */
  #trigger(request: IrqRequest): void {
    for (let i = 0; i < request.count; i++) {
      const fd = this.#eventfdOf(request.index, request.start + i);
      if (fd !== undefined && isChosen(request, i)) this.#platform.signal(fd);
    }
  }

  #eventfdOf(index: number, vector: number): number | undefined {
    if (index === IRQ.INTX) return this.#intx;
    return index === IRQ.ERR ? this.#error : this.#msix.get(vector);
  }

  #release(index: number): void {
    if (index === IRQ.INTX) {
      this.#forgetUnmask();
      this.#assignIntx(undefined);
    }
    if (index === IRQ.ERR) this.#assignError(undefined);
    if (index !== IRQ.MSIX) return;
    for (const fd of this.#msix.values()) this.#platform.close(fd);
    this.#msix.clear();
  }

  /** Closes all eventfds, since the client has gone. */
  close(): void {
    for (let index = 0; index < IRQ_TYPES; index++) this.#release(index);
  }
}

function isChosen({ chosen }: IrqRequest, at: number): boolean {
  return chosen === undefined || (chosen[at] ?? 0) !== 0;
}
