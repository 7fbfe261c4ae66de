import { type DeviceModel, type Gpa, MappedMemory, STATUS, type VirtioState } from '@virtkit/core';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { NetDevice } from '@virtkit/device-net';
import { findQemu, type Qemu, withQemu } from '@virtkit/lab';
import { Reader } from '@virtkit/vmstate';
import { describe, expect, test } from 'vitest';
import { CcwDevice, type CcwParts, ChannelSubsystem, type CssState, s390Css } from '../../src/index.ts';
import { sectionsOf } from '../corpus.ts';
import { Program, RAM_BYTES, REGION } from './program.ts';
import { type Ending, type Operation, QemuMachine } from './qemu-machine.ts';

// A real QEMU 7.2 and our channel subsystem, with the same two disks (newest revision, and legacy only) and a network card
// (packed rings), are given the same
// I/O instructions with the same random operands, channel programs and data, good and bad. After each one, its condition
// code or program exception, and a region of memory with all operands and data must be the same; at the end, all of the
// devices' saved state. Left out is what DIFFERENCES.md lists. Queues are set up, but have no requests in them.

const STEPS = Number(process.env['VIRTKIT_LOCKSTEP_STEPS'] ?? 600);
const SEEDS = (process.env['VIRTKIT_LOCKSTEP_SEEDS'] ?? '1,2,3').split(',').map(Number);
const MAC = '52:54:00:12:34:56';
const DISK_BYTES = 1 << 20;
const ALL_SUBCLASSES = 0xff000000;
const binary = findQemu('s390x');

/** Our machine. */
class Here {
  readonly ram: Uint8Array = new Uint8Array(RAM_BYTES);
  readonly memory: MappedMemory = new MappedMemory([{ gpa: 0, bytes: this.ram }]);
  readonly css: ChannelSubsystem = new ChannelSubsystem({ memory: this.memory });
  readonly devices: readonly CcwDevice[];

  constructor() {
    const { memory, css } = this;
    const disk = (): DeviceModel => new BlkDevice({ backend: memoryDisk(DISK_BYTES) }) as DeviceModel;
    const card = new NetDevice({ backend: { send: () => true }, mac: MAC }) as DeviceModel;
    this.devices = [
      new CcwDevice(disk(), { memory, host: css, devno: 0 }),
      new CcwDevice(disk(), { memory, host: css, devno: 1, maxRevision: 0 }),
      new CcwDevice(card, { memory, host: css, devno: 2, rings: { packed: true } }),
    ];
    for (const device of this.devices) css.attach(device);
  }

  execute({ op, r1, r2, r3 = 0 }: Operation): Ending | 'specification' {
    // QEMU's CPU is stopped between two instructions: its devices are told their status again
    for (const { device } of this.devices) device.model.setStatus?.(device.status);
    const { css } = this;
    if (op === 'diagnose500') return css.diagnose500(r1, r2, r3);
    if (op === 'tpi') return css.tpi(r2, ALL_SUBCLASSES);
    if (op === 'stcrw') return css.stcrw(r2);
    if (op === 'csch' || op === 'hsch' || op === 'rsch' || op === 'xsch') return css[op](r1);
    return css[op](r1, r2);
  }
}

/**
 * What is left out of the comparison. Addresses that a driver left without a reset stay known to QEMU, with the length that
 * they had when first set. And where a ring does not fit into memory, QEMU finds it once more when it begins to save.
 */
function comparable<S extends VirtioState<CcwParts>>(state: S): S {
  const { indicators, indicators2, summaryIndicator } = state.transport;
  const one = (area: { len: number; addr: bigint }) => ({ ...area, len: Math.min(area.len, 1) });
  const transport = {
    ...state.transport,
    indicators: one(indicators),
    indicators2: one(indicators2),
    summaryIndicator: one(summaryIndicator),
  };
  const broken = state.subsections.broken === true;
  return { ...state, transport, ...(broken && { status: state.status & ~STATUS.NEEDS_RESET, isr: 0 }) };
}

/** Section `s390_css` of a stream. */
function channelSubsystemOf(stream: Uint8Array): CssState {
  const name = 's390_css';
  const at = Buffer.from(stream.buffer, stream.byteOffset, stream.length).indexOf(name);
  return s390Css.decode(new Reader(stream.subarray(at + name.length + 8)), undefined);
}

function start<T>(use: (vm: Qemu) => Promise<T>): Promise<T> {
  return withQemu(
    {
      arch: 's390x',
      binary,
      machine: 's390-ccw-virtio-7.2',
      memoryMiB: RAM_BYTES >> 20,
      paused: true,
      files: { 'disk0.img': DISK_BYTES, 'disk1.img': DISK_BYTES },
      args: [
        ...['-blockdev', 'driver=file,filename=disk0.img,node-name=d0'],
        ...['-blockdev', 'driver=file,filename=disk1.img,node-name=d1'],
        ...['-device', 'virtio-blk-ccw,drive=d0,ioeventfd=off'],
        ...['-device', 'virtio-blk-ccw,drive=d1,ioeventfd=off,max_revision=0'],
        ...['-netdev', 'hubport,id=n0,hubid=0'],
        ...['-device', `virtio-net-ccw,netdev=n0,mac=${MAC},packed=on,ioeventfd=off`],
        ...['-gdb', 'unix:gdb.sock,server=on,wait=off'],
      ],
    },
    use,
  );
}

describe.runIf(binary?.version.startsWith('7.2'))('in step with QEMU', () => {
  test.each(SEEDS)('seed %i', { timeout: 60_000 + 100 * STEPS }, async (seed) => {
    await start(async (vm) => {
      const there = await QemuMachine.create(vm);
      const here = new Here();
      const program = new Program(seed, here.devices);
      const done: string[] = [];
      for (let step = 0; step < STEPS; step++) {
        const { operation, writes } = program.next();
        for (const { at, bytes } of writes) {
          there.write(at, bytes);
          here.memory.write(at as Gpa, bytes);
        }
        done.push(program.tell(operation, here.ram));
        const endings: { qemu: Ending; here: Ending } = {
          qemu: await there.execute(operation),
          here: here.execute(operation),
        };
        done.push(`  ${done.pop()} → ${endings.qemu}`);
        const context = `seed ${seed}, step ${step}:\n${done.slice(-14).join('\n')}`;
        expect(endings.here, context).toBe(endings.qemu);
        const [mine, theirs] = [
          here.ram.subarray(REGION.from, REGION.to),
          there.read(REGION.from, REGION.to - REGION.from),
        ];
        if (Buffer.compare(mine, theirs) !== 0) {
          const at = mine.findIndex((byte, i) => byte !== theirs[i]);
          const hex = (bytes: Uint8Array): string => Buffer.from(bytes.subarray(at, at + 32)).toString('hex');
          expect(hex(mine), `${context}\nmemory at 0x${(REGION.from + at).toString(16)}`).toBe(hex(theirs));
        }
      }
      there.close();
      const stream = await vm.migrate();
      expect(here.css.captureCss()).toEqual(channelSubsystemOf(stream));
      const saved = [...sectionsOf(stream)];
      expect(saved).toHaveLength(here.devices.length);
      saved.forEach(({ state }, index) => {
        const mine = here.devices[index]?.device.capture();
        expect(mine && comparable(mine), `seed ${seed}, device ${index}`).toEqual(comparable(state));
      });
    });
  });
});
