/**
 * Records the I/O instructions of a Linux boot on s390x under QEMU: what the guest gave to each, and what it got.
 *
 * QEMU's trace events name the channel commands and not their data. So this is done through the gdbstub: breakpoints at the
 * I/O instructions in the guest's kernel (which is told not to move, and says its symbols), operands and channel programs
 * read before, one step, and what has changed read after.
 *
 *   node --import tsx --conditions=@virtkit/source test/record/record-boot.ts
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { buildInitramfs, delay, findLab, kernelCommandLine, type Qemu, withQemu } from '@virtkit/lab';
import { BOOTS, type Boot } from './boots.ts';
import type { BootRecord, Step } from './format.ts';
import { INTERRUPT, type Instruction, instructionAt, OPCODES } from './instructions.ts';
import { Gdb } from './rsp.ts';

const MACHINE = 's390-ccw-virtio-7.2';
const SYMBOLS = [...OPCODES.keys(), 'io_int_handler'];
const DATA = fileURLToPath(new URL('../data', import.meta.url));
/** Bytes of a function that are searched for its I/O instruction. */
const FUNCTION_BYTES = 0x120;
/** Bytes of the firmware. */
const FIRMWARE_BYTES = 0x20000;

const lab = findLab('s390x');
if (!lab.ok) throw new Error(lab.reason);
const { kit, binary } = lab;

function start<T>(boot: Boot, more: readonly string[], use: (vm: Qemu) => Promise<T>): Promise<T> {
  const files = {
    vmlinuz: readFileSync(kit.kernelPath),
    'initrd.gz': buildInitramfs(kit, {
      disk: false,
      network: false,
      afterReady: [
        `grep -E ' (${SYMBOLS.join('|')})$' /proc/kallsyms`,
        'echo LAB:SYMBOLS',
        ...boot.commands,
        'echo LAB:DONE',
      ],
    }),
    'disk.img': 1 << 20,
  };
  const linux = [
    '-kernel',
    'vmlinuz',
    '-initrd',
    'initrd.gz',
    '-append',
    `${kernelCommandLine('s390x')} nokaslr`,
  ];
  const args = [
    ...(boot.firmware === true ? ['-action', 'panic=pause'] : linux),
    ...['-blockdev', 'driver=file,filename=disk.img,node-name=d0', '-netdev', 'user,id=n0,restrict=on'],
    ...boot.devices.flatMap((device) => ['-device', device]),
    ...more,
  ];
  return withQemu({ arch: 's390x', binary, machine: MACHINE, files, args, paused: more.length > 0 }, use);
}

/** Addresses of functions in the guest's kernel; the same at each boot. */
async function findSymbols(): Promise<Map<string, number>> {
  const boot: Boot = { name: '', what: '', devices: [], commands: [] };
  return start(boot, [], async (vm) => {
    await vm.waitForConsole(/LAB:SYMBOLS/, 120_000);
    const found = vm.console.matchAll(/([0-9a-f]{16}) [tT] (\w+)/g);
    return new Map([...found].map(([, address = '', name = '']) => [name, Number.parseInt(address, 16)]));
  });
}

/** Finds the one I/O instruction in each function. */
async function findInstructions(gdb: Gdb, symbols: Map<string, number>): Promise<Map<number, Instruction>> {
  const found = new Map<number, Instruction>();
  for (const [name, address] of symbols) {
    if (name === 'io_int_handler') {
      found.set(address, INTERRUPT);
      continue;
    }
    const opcode = OPCODES.get(name);
    if (opcode === undefined) continue;
    const code = await gdb.read(address, FUNCTION_BYTES);
    for (let at = 0; at + 4 <= code.length; at += 2) {
      const word = ((code[at] ?? 0) << 8) | (code[at + 1] ?? 0);
      if (word === opcode) found.set(address + at, instructionAt(name, code.subarray(at, at + 4)));
    }
  }
  return found;
}

/** The kernel is not unpacked at first: runs until one of the functions is entered. */
async function findInKernel(gdb: Gdb, symbols: Map<string, number>): Promise<Map<number, Instruction>> {
  for (const address of symbols.values()) await gdb.setBreakpoint(address);
  await gdb.continue();
  const instructions = await findInstructions(gdb, symbols);
  await gdb.step();
  return instructions;
}

/** All places around its entry where the bytes of an I/O instruction stand. Data among them is never executed. */
async function findInFirmware(gdb: Gdb): Promise<Map<number, Instruction>> {
  const { address } = await gdb.registers();
  const from = Math.floor(address / 0x10000) * 0x10000;
  const code = await gdb.read(from, FIRMWARE_BYTES);
  const found = new Map<number, Instruction>();
  for (let at = 0; at + 4 <= code.length; at += 2) {
    const word = ((code[at] ?? 0) << 8) | (code[at + 1] ?? 0);
    for (const [name, opcode] of OPCODES) {
      if (word === opcode) found.set(from + at, instructionAt(name, code.subarray(at, at + 4)));
    }
  }
  return found;
}

/** Never ends: the guest does. */
async function recordSteps(gdb: Gdb, instructions: Map<number, Instruction>, steps: Step[]): Promise<never> {
  for (;;) {
    await gdb.continue();
    const registers = await gdb.registers();
    const step = await instructions.get(registers.address)?.record(gdb, registers);
    if (step !== undefined) steps.push(step);
    // running on from a breakpoint is stopping there again
    else await gdb.step();
  }
}

async function record(boot: Boot, symbols: Map<string, number>): Promise<BootRecord> {
  const steps: Step[] = [];
  await start(boot, ['-gdb', 'unix:gdb.sock,server=on,wait=off'], async (vm) => {
    const socket = join(vm.dir, 'gdb.sock');
    while (!existsSync(socket)) await delay(20);
    const gdb = await Gdb.connect(socket);
    const instructions =
      boot.firmware === true ? await findInFirmware(gdb) : await findInKernel(gdb, symbols);
    for (const address of instructions.keys()) await gdb.setBreakpoint(address);
    const end = boot.firmware === true ? /Failed to load OS/ : /LAB:DONE/;
    await Promise.race([recordSteps(gdb, instructions, steps), vm.waitForConsole(end, 600_000)]);
    gdb.close();
  });
  return {
    what: boot.what,
    qemu: binary.package,
    kernel: kit.kernelRelease,
    machine: MACHINE,
    devices: boot.devices,
    steps,
  };
}

const symbols = await findSymbols();
mkdirSync(DATA, { recursive: true });
for (const boot of BOOTS) {
  const started = Date.now();
  const result = await record(boot, symbols);
  const bytes = gzipSync(JSON.stringify(result), { level: 9 });
  writeFileSync(join(DATA, `${boot.name}.json.gz`), bytes);
  console.log(
    `${boot.name}: ${result.steps.length} steps, ${bytes.length} bytes, ${Date.now() - started} ms`,
  );
}
process.exit(0);
