import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { type DeviceModel, type Gpa, MappedMemory } from '@virtkit/core';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { NetDevice } from '@virtkit/device-net';
import { describe, expect, test } from 'vitest';
import { CcwDevice, ChannelSubsystem } from '../src/index.ts';
import type { BootRecord, Step } from './record/format.ts';

// What a record has (test/record/record-boot.ts made it): every SSCH, TSCH, STSCH, MSCH, CSCH, HSCH, RSCH, XSCH, TPI,
// STCRW, CHSC and notification hypercall of a real Linux (or of QEMU's boot firmware) under QEMU 7.2, with its operand,
// condition code and result; of each channel program the commands and their data, before and after; each I/O interruption.
// What it has not: what stands in the virtqueues. So notifications find empty rings here, and the adapter interrupts that
// QEMU's devices answered with cannot be compared. Of CHSC, only what enables subchannel sets is followed.

const DATA = new URL('./data/', import.meta.url);
const RAM_BYTES = 128 << 20;
/** Where operands are put; the guests use this page for nothing that is recorded. */
const OPERAND = 0x7000 as Gpa;
const ADAPTER = 0x80000000;
/** CHSC: set domain attributes; operation code 2 in its request enables subchannel sets. */
const CHSC_SDA = 0x31;
const SDA_MSS = '00000002';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const bytesOf = (text: string): Uint8Array => Buffer.from(text, 'hex');

/** A machine like the one that was recorded. */
function machineFor({ devices }: BootRecord) {
  const memory = new MappedMemory([{ gpa: 0, bytes: new Uint8Array(RAM_BYTES) }]);
  const css = new ChannelSubsystem({ memory });
  devices.forEach((line, devno) => {
    const maxRevision = Number(/max_revision=(\d)/.exec(line)?.[1] ?? 2);
    const model: DeviceModel<never> = line.startsWith('virtio-blk')
      ? (new BlkDevice({ backend: memoryDisk(1 << 20) }) as DeviceModel as DeviceModel<never>)
      : (new NetDevice({
          backend: { send: () => true } as never,
          mac: '52:54:00:12:34:56',
          offloads: {},
        }) as DeviceModel as DeviceModel<never>);
    css.attach(new CcwDevice(model, { memory, host: css, devno, maxRevision }));
  });
  return { memory, css };
}

/** Runs a step, and gives what it should be and what it was. */
class Replay {
  readonly memory: MappedMemory;
  readonly css: ChannelSubsystem;

  constructor(record: BootRecord) {
    const { memory, css } = machineFor(record);
    this.memory = memory;
    this.css = css;
  }

  step(step: Step): Step | undefined {
    const { css } = this;
    switch (step.op) {
      case 'ssch':
        return this.#start(step);
      case 'msch': {
        this.#write(OPERAND, step.schib);
        return { ...step, cc: css.msch(step.id, OPERAND) as number };
      }
      case 'stsch': {
        const cc = css.stsch(step.id, OPERAND) as number;
        return { op: 'stsch', id: step.id, cc, ...(cc !== 3 && { schib: this.#read(OPERAND, 52) }) };
      }
      case 'tsch': {
        const cc = css.tsch(step.id, OPERAND) as number;
        return { op: 'tsch', id: step.id, cc, ...(cc !== 3 && { irb: this.#read(OPERAND, 64) }) };
      }
      case 'csch':
      case 'hsch':
      case 'rsch':
      case 'xsch':
        return { ...step, cc: css[step.op](step.id) as number };
      case 'stcrw':
        return { op: 'stcrw', cc: css.stcrw(OPERAND) as number, crw: this.#read(OPERAND, 4) };
      case 'diagnose500': {
        const [subcode = 0, r2 = 0, r3 = 0] = step.registers;
        return { ...step, result: css.diagnose500(subcode, r2, r3) as number };
      }
      case 'chsc':
        if (step.command === CHSC_SDA && step.request.startsWith(SDA_MSS) && step.response === 1)
          css.enableMss();
        return undefined;
      case 'tpi':
      case 'interrupt':
        return this.#interrupt(step);
    }
  }

  #start(step: Step & { op: 'ssch' }): Step {
    for (const { at, before } of step.data) this.#write(at, before);
    for (const { at, bytes } of step.program) this.#write(at, bytes);
    this.#write(OPERAND, step.orb);
    const cc = this.css.ssch(step.id, OPERAND) as number;
    const data = step.data.map(({ at, before }) => {
      const after = this.#read(at, before.length / 2);
      return { at, before, ...(after !== before && { after }) };
    });
    return { ...step, cc, data };
  }

  /** A subchannel's interrupt must be the next one here; one of the adapter comes from a queue. */
  #interrupt(step: Step & { op: 'interrupt' | 'tpi' }): Step | undefined {
    const word = Number.parseInt(step.code?.slice(16) || '0', 16);
    if (word >= ADAPTER) return undefined;
    if (step.op === 'interrupt') {
      if (!this.css.deliverInterrupt(0xff000000)) return { op: 'interrupt', code: 'none' };
      return { op: 'interrupt', code: this.#read(0xb8, 12) };
    }
    const cc = this.css.tpi(0, 0xff000000) as number;
    return { op: 'tpi', cc, ...(cc !== 0 && { code: this.#read(0xb8, (step.code?.length ?? 24) / 2) }) };
  }

  #write(at: number, text: string): void {
    this.memory.write(at as Gpa, bytesOf(text));
  }

  #read(at: number, length: number): string {
    const bytes = new Uint8Array(length);
    this.memory.read(at as Gpa, bytes);
    return hex(bytes);
  }
}

const records = readdirSync(DATA).filter((name) => name.endsWith('.json.gz'));

describe.each(records)('%s', (name) => {
  const record = JSON.parse(gunzipSync(readFileSync(new URL(name, DATA))).toString()) as BootRecord;

  test('every instruction ends as it did under QEMU', () => {
    const replay = new Replay(record);
    for (const [index, step] of record.steps.entries()) {
      const now = replay.step(step);
      if (now !== undefined) expect(now, `step ${index}`).toEqual(step);
    }
  });

  test('is a record of something', () => {
    expect(record.steps.filter(({ op }) => op === 'ssch').length).toBeGreaterThan(10);
  });
});
