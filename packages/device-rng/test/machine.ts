// An entropy device in a machine without a processor or a bus.
import { RngDevice, type RngOptions, type RngState } from '@virtkit/device-rng';
import { BareMachine, type BareOptions } from '@virtkit/lab/bare-machine.ts';

export class Machine extends BareMachine<RngState> {
  readonly device: RngDevice;

  constructor(options: RngOptions, machine: BareOptions = {}) {
    const device = new RngDevice(options);
    super(device, machine, []);
    this.device = device;
  }

  /** Asks for so many bytes, in a buffer that is filled with 0xdd. Not kicked. Answers where. */
  ask(bytes: number): number {
    const at = this.alloc(bytes);
    this.ram.fill(0xdd, at, at + bytes);
    this.add(0, [{ addr: at, len: bytes, write: true }]);
    return at;
  }

  bytes(at: number, length: number): number[] {
    return [...this.ram.subarray(at, at + length)];
  }

  /** Lengths of what came back since last asked. */
  lengths(): number[] {
    return this.used(0).map(({ len }) => len);
  }
}

/** Calls that were asked for later, for a test to make. */
export class Clock {
  readonly calls: { readonly milliseconds: number; readonly run: () => void }[] = [];
  readonly after = (milliseconds: number, run: () => void): void => {
    this.calls.push({ milliseconds, run });
  };

  /** Makes the oldest call. */
  next(): number {
    const call = this.calls.shift();
    if (call === undefined) throw new Error('nothing was asked for later');
    call.run();
    return call.milliseconds;
  }
}

/** A back end that answers when it is told to. */
export class SlowSource {
  readonly asked: {
    readonly target: Uint8Array;
    resolve(count: number): void;
    reject(error: Error): void;
  }[] = [];

  fill(target: Uint8Array): Promise<number> {
    return new Promise((resolve, reject) => {
      this.asked.push({ target, resolve, reject });
    });
  }

  /** Answers the oldest question, and lets the device hear of it. */
  async answer(value: number, count?: number): Promise<void> {
    const question = this.asked.shift();
    if (question === undefined) throw new Error('nobody asked');
    question.target.fill(value);
    question.resolve(count ?? question.target.length);
    await settled();
  }

  async fail(reason: string): Promise<void> {
    this.asked.shift()?.reject(new Error(reason));
    await settled();
  }
}

export async function settled(): Promise<void> {
  for (let i = 0; i < 5; i++) await Promise.resolve();
}
