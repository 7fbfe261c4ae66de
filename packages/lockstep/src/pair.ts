import type { QemuBinary } from '@virtkit/lab';
import type { Difference } from './difference.ts';
import { describeOperation, type Operation } from './operation.ts';
import { OurMachine } from './our-machine.ts';
import { QemuMachine } from './qemu-machine.ts';
import type { Answers } from './qtest.ts';
import { RAM_BYTES, type Setup } from './setup.ts';
import { compareState } from './state.ts';

/** Expectation of an operation of the current window: what it should have done. */
interface Expectation {
  readonly operation: Operation;
  readonly index: number;
  /** Answer that tells, counted in this window. */
  readonly answer: number;
  /** Answers up to the end of what belongs to the operation. */
  readonly end: number;
  /** Value that we read, or undefined if the operation reads nothing, or from where we are not. */
  readonly value: number | undefined;
  /** Our interrupt line afterwards. */
  readonly level: 0 | 1;
}

/** QEMU and we, the same machine twice. Operations are applied to ours at once and sent to QEMU; {@link check} compares. */
export class Pair {
  readonly ours: OurMachine;
  readonly qemu: QemuMachine;
  /** Operations applied. */
  count = 0;
  readonly #window: Expectation[] = [];
  #level: 0 | 1 = 0;
  readonly #ram = new Uint8Array(RAM_BYTES);

  private constructor(ours: OurMachine, qemu: QemuMachine) {
    this.ours = ours;
    this.qemu = qemu;
  }

  static async start(binary: QemuBinary, setup: Setup): Promise<Pair> {
    return new Pair(new OurMachine(setup), await QemuMachine.start(binary, setup));
  }

  /**
   * Does an operation on both sides. False: it ran into a difference that is known and has reasons (see
   * {@link OurMachine.known}); from here on the sides cannot be compared.
   */
  async apply(operation: Operation): Promise<boolean> {
    const { ours, qemu } = this;
    const value = ours.apply(operation);
    const work = ours.takeWork();
    const pending = ours.hasPending;
    if (pending) await ours.settle();
    // QEMU is spared it: it may hang
    if (ours.known !== undefined) return false;
    const answer = qemu.qtest.sent + (operation.kind.startsWith('config') && !qemu.setup.express ? 1 : 0);
    qemu.send(operation);
    if (work > 0) qemu.barrier(work + 1);
    if (pending && qemu.setup.content) {
      await qemu.drain();
      ours.stopAndGoOn();
      qemu.barrier(1);
    }
    this.#window.push({
      operation,
      index: this.count++,
      answer,
      end: qemu.qtest.sent,
      value,
      level: ours.level,
    });
    return true;
  }

  /** Waits for QEMU and compares: each value read, the interrupt line after each operation, all of RAM. */
  async check(): Promise<Difference | undefined> {
    const { qemu, ours } = this;
    qemu.barrier(2);
    const answers = await qemu.finish();
    const found = this.#compareAnswers(answers) ?? this.#silence(answers);
    const last = this.count - 1;
    this.#window.length = 0;
    if (found !== undefined || ours.known !== undefined) return found;
    qemu.readRam(this.#ram);
    const { disk } = ours;
    const differs = compareBytes('memory', this.#ram, ours.bytes, last);
    return differs ?? (disk && compareBytes('disk', qemu.readDisk(), disk, last));
  }

  /** Migrates QEMU and compares what it saved with what we would save. */
  async compareSaved(): Promise<Difference | undefined> {
    const stream = await this.qemu.migrate();
    this.ours.stopAndGoOn();
    return compareState(stream, this.ours, this.count - 1);
  }

  close(): void {
    this.qemu.close();
  }

  #silence({ lines, failure }: Answers): Difference | undefined {
    if (failure === undefined) return undefined;
    const missing = this.#window.find(({ end }) => end > lines.length);
    return {
      kind: 'answer',
      at: missing?.index ?? this.count - 1,
      qemu: failure.message,
      ours: 'goes on',
    };
  }

  #compareAnswers({ lines, changes }: Answers): Difference | undefined {
    let next = 0;
    for (const { operation, index, answer, end, value, level } of this.#window) {
      if (end > lines.length) break;
      const line = lines[answer] ?? '';
      if (!line.startsWith('OK')) return { kind: 'answer', at: index, qemu: line, ours: 'OK' };
      if (value !== undefined) {
        const theirs = Number(line.slice(3));
        if (theirs !== value)
          return {
            kind: 'read',
            at: index,
            qemu: hex(theirs),
            ours: hex(value),
            where: describeOperation(operation),
          };
      }
      for (let change = changes[next]; change !== undefined && change.after < end; change = changes[++next]) {
        if (this.qemu.ownsLine(change.line)) this.#level = change.level;
      }
      if (this.#level !== level) {
        return {
          kind: 'level',
          at: index,
          qemu: String(this.#level),
          ours: String(level),
          where: describeOperation(operation),
        };
      }
    }
    for (; next < changes.length; next++) {
      const change = changes[next];
      if (change !== undefined && this.qemu.ownsLine(change.line)) this.#level = change.level;
    }
    return undefined;
  }
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

const CONTEXT = 8;

function compareBytes(
  kind: 'memory' | 'disk',
  qemu: Uint8Array,
  ours: Uint8Array,
  at: number,
): Difference | undefined {
  if (Buffer.compare(qemu, ours) === 0) return undefined;
  const first = qemu.findIndex((byte, i) => byte !== ours[i]);
  const show = (bytes: Uint8Array): string =>
    Buffer.from(bytes.subarray(first, first + CONTEXT)).toString('hex');
  return { kind, at, qemu: show(qemu), ours: show(ours), where: `at ${hex(first)}` };
}
