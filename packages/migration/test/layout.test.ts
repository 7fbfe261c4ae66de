// Where machines have their memory: a real QEMU puts a word at an address, and it must be found there in its stream.
import { compareVersions, findQemu, type QemuArch, withQemu } from '@virtkit/lab';
import { describe, expect, test } from 'vitest';
import { machineEndian, RamImage, ramLayout, StreamCollector, StreamParser, TeeSink } from '../src/index.ts';

interface Machine {
  readonly arch: QemuArch;
  readonly machine: string;
  readonly args?: readonly string[];
  readonly memoryMiB?: number;
  readonly at: number;
  readonly endian?: 'big';
  /** First QEMU that has it, or can save it. */
  readonly since?: string;
}

const HIGH = 0x8010_0000;
const MACHINES: readonly Machine[] = [
  { arch: 'x86_64', machine: 'pc', at: 0x10_0000 },
  { arch: 'x86_64', machine: 'q35', at: 0x10_0000 },
  { arch: 'x86_64', machine: 'microvm', at: 0x10_0000 },
  { arch: 's390x', machine: 's390-ccw-virtio', at: 0x10_0000, endian: 'big' },
  { arch: 'riscv64', machine: 'virt', at: HIGH },
  { arch: 'm68k', machine: 'virt', at: 0x10_0000, endian: 'big', since: '6.0' },
  { arch: 'aarch64', machine: 'virt', args: ['-cpu', 'cortex-a57'], at: 0x4010_0000 },
  { arch: 'ppc64', machine: 'pseries', memoryMiB: 256, at: 0x10_0000, endian: 'big' },
  { arch: 'ppc64', machine: 'mac99', at: 0x10_0000, endian: 'big' },
  { arch: 'ppc', machine: 'g3beige', at: 0x10_0000, endian: 'big' },
  { arch: 'or1k', machine: 'virt', at: 0x10_0000, endian: 'big', since: '10.0' },
  { arch: 'loongarch64', machine: 'virt', memoryMiB: 1025, at: HIGH, since: '10.0' },
];
const WORD = 0x1234_5678;

describe('a word that QEMU has put into memory is where the layout says', { timeout: 60_000 }, () => {
  for (const { arch, machine, args = [], memoryMiB = 128, at, endian = 'little', since = '' } of MACHINES) {
    test(`${arch} ${machine} at 0x${at.toString(16)}`, async (context) => {
      const binary = findQemu(arch);
      if (binary === undefined || compareVersions(binary.version, since) < 0) {
        console.warn(`SKIPPED: no qemu-system-${arch} ${since}`);
        return context.skip();
      }
      // the first bytes of a word of 64 bits are put there
      const data = endian === 'big' ? BigInt(WORD) << 32n : BigInt(WORD);
      const loader = `loader,addr=0x${at.toString(16)},data=0x${data.toString(16)},data-len=4,data-be=${endian === 'big' ? 'on' : 'off'}`;
      const stream = await withQemu(
        {
          ...{ arch, binary, machine, memoryMiB, sharedMemory: false, paused: true },
          args: ['-nodefaults', ...args, '-device', loader],
        },
        (vm) => vm.migrate(),
      );
      const collector = new StreamCollector();
      const ram = new RamImage();
      const parser = new StreamParser(new TeeSink(collector, ram));
      parser.push(stream);
      parser.end();
      const name = collector.partial().configuration?.name ?? '';
      expect(machineEndian(name, ram.announced)).toBe(endian);
      const piece = ramLayout(name, ram.announced).find(({ gpa, length }) => at >= gpa && at < gpa + length);
      const bytes = ram.blocks.get(piece?.block ?? '');
      if (piece === undefined || bytes === undefined) throw new Error(`nothing at ${at}`);
      const view = new DataView(bytes.buffer, bytes.byteOffset + piece.offset + (at - piece.gpa), 4);
      expect(view.getUint32(0, endian === 'little')).toBe(WORD);
    });
  }
});
