import { type ChildProcess, spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type QemuBinary, Qmp } from '@virtkit/lab';
import { type Operation, toHex } from './operation.ts';
import { type Answers, Qtest } from './qtest.ts';
import { DISK_BYTES, DISK_SERIAL, diskContent, MAC, RAM_BYTES, type Setup } from './setup.ts';

const SLOT = 4;
const FIRMWARE_BYTES = 0x10000;
/** Address of the second flash chip, right below the firmware: writing it makes QEMU run its bottom halves. */
const BARRIER_AT = 0x1_0000_0000 - 2 * FIRMWARE_BYTES;
/** Base of the memory-mapped configuration space of a q35. */
const ECAM = 0xb000_0000;
/** The interrupt lines that PIRQA to PIRQD of a pc are routed to. */
const PIRQ_LINES = [5, 9, 10, 11];
const READ = { 1: 'b', 2: 'w', 4: 'l', 8: 'q' } as const;

/** A file system in memory, if there is one: guest RAM lies in a file that is compared often. */
function workingDirectory(): string {
  return mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'virtkit-lockstep-'));
}

/**
 * A real QEMU with one virtio device whose registers and memory are driven from here. Its CPU sleeps (`hlt`); nothing but the
 * operations reaches the device. Debian's QEMU has no `-accel qtest`, and does not need it: the qtest protocol works
 * beside any accelerator.
 */
export class QemuMachine {
  readonly setup: Setup;
  readonly qtest: Qtest;
  readonly qmp: Qmp;
  readonly #process: ChildProcess;
  readonly #dir: string;
  readonly #ram: number;
  #stderr: () => string;

  private constructor(
    setup: Setup,
    dir: string,
    child: ChildProcess,
    qtest: Qtest,
    qmp: Qmp,
    stderr: () => string,
  ) {
    this.setup = setup;
    this.qtest = qtest;
    this.qmp = qmp;
    this.#dir = dir;
    this.#process = child;
    this.#stderr = stderr;
    this.#ram = openSync(join(dir, 'ram'), 'r');
  }

  static async start(binary: QemuBinary, setup: Setup): Promise<QemuMachine> {
    const dir = workingDirectory();
    const firmware = new Uint8Array(FIRMWARE_BYTES).fill(0xf4);
    firmware.set([0xfa, 0xf4, 0xeb, 0xfd], FIRMWARE_BYTES - 16); // cli; hlt; jmp back to hlt
    writeFileSync(join(dir, 'firmware'), firmware);
    if (setup.content) writeFileSync(join(dir, 'disk'), diskContent());
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(join(dir, 'qtest.sock'), resolve));
    const [program = '', ...first] = binary.command;
    const child = spawn('timeout', ['-s', 'KILL', '3600', program, ...first, ...commandLine(setup)], {
      cwd: dir,
      env: { ...process.env, ...binary.env },
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    });
    let errors = '';
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      errors = (errors + chunk).slice(-4000);
      if (process.env['VIRTKIT_QEMU_ARGS'] !== undefined) process.stderr.write(chunk);
    });
    live.add(child);
    child.once('close', () => live.delete(child));
    try {
      const socket = await accept(server, child, () => errors);
      const qtest = new Qtest(socket);
      child.once('close', (code, signal) =>
        qtest.fail(new Error(`QEMU ended (${signal ?? code}): ${errors}`)),
      );
      const qmp = await Qmp.connect(join(dir, 'qmp.sock'), 10_000);
      const machine = new QemuMachine(setup, dir, child, qtest, qmp, () => errors);
      await machine.#prepare();
      return machine;
    } catch (error) {
      kill(child);
      rmSync(dir, { recursive: true, force: true });
      throw error;
    } finally {
      server.close();
    }
  }

  /** Text that QEMU wrote to its standard error. */
  get stderr(): string {
    return this.#stderr();
  }

  /** Queues the commands of an operation; answers how many there will be, of which the first tells. */
  send(operation: Operation): void {
    const { qtest } = this;
    switch (operation.kind) {
      case 'memory':
        qtest.send(`write ${operation.at} ${operation.bytes.length} 0x${toHex(operation.bytes)}`);
        break;
      case 'in':
        qtest.send(`in${suffix(operation.size)} ${operation.at}`);
        break;
      case 'out':
        qtest.send(`out${suffix(operation.size)} ${operation.at} ${operation.value}`);
        break;
      case 'load':
        qtest.send(`read${suffix(operation.size)} ${operation.at}`);
        break;
      case 'store':
        qtest.send(`write${suffix(operation.size)} ${operation.at} ${operation.value}`);
        break;
      case 'config-read':
        if (this.setup.express) qtest.send(`read${suffix(operation.size)} ${this.#ecam(operation.at)}`);
        else {
          qtest.send(`outl 0xcf8 ${this.#cf8(operation.at)}`);
          qtest.send(`in${suffix(operation.size)} ${0xcfc + (operation.at & 3)}`);
        }
        break;
      case 'config-write':
        if (this.setup.express)
          qtest.send(`write${suffix(operation.size)} ${this.#ecam(operation.at)} ${operation.value}`);
        else {
          qtest.send(`outl 0xcf8 ${this.#cf8(operation.at)}`);
          qtest.send(`out${suffix(operation.size)} ${0xcfc + (operation.at & 3)} ${operation.value}`);
        }
    }
  }

  /**
   * Makes QEMU finish what the operations so far have started: transmission is a bottom half, and a request that was served
   * at once is completed by one. A write to a flash chip waits for its disk, and bottom halves run meanwhile.
   */
  barrier(rounds: number): void {
    for (let i = 0; i < rounds; i++) {
      this.qtest.send(`writeb ${BARRIER_AT} 0x40`);
      this.qtest.send(`writeb ${BARRIER_AT} 0`);
    }
  }

  /** Waits until no request is under way any more: QEMU finishes all of them when it stops. */
  async drain(): Promise<void> {
    await this.qtest.arrived();
    await this.qmp.execute('stop');
    await this.qmp.execute('cont');
  }

  /** Reads what is on a disk with content. */
  readDisk(): Uint8Array {
    return readFileSync(join(this.#dir, 'disk'));
  }

  /** Is this line the device's? Others belong to the machine's timers. */
  ownsLine(line: number): boolean {
    return this.setup.express ? line >= 16 && line < 24 : PIRQ_LINES.includes(line);
  }

  finish(): Promise<Answers> {
    return this.qtest.finish();
  }

  /** Guest RAM as it is now; only while no command is under way. */
  readRam(target: Uint8Array): void {
    readSync(this.#ram, target, 0, RAM_BYTES, 0);
  }

  /** The migration stream; the machine runs on afterwards. */
  async migrate(): Promise<Uint8Array> {
    const path = join(this.#dir, 'migrate.sock');
    rmSync(path, { force: true });
    const chunks: Buffer[] = [];
    const server = createServer();
    const done = new Promise<void>((resolve, reject) => {
      server.once('connection', (socket) => {
        socket.on('data', (chunk) => chunks.push(chunk));
        socket.once('end', () => {
          socket.end();
          resolve();
        });
        socket.once('error', reject);
      });
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    try {
      await this.qmp.execute('stop');
      await this.qmp.execute('migrate', { uri: `unix:${path}` });
      await done;
      for (;;) {
        const info = await this.qmp.execute('query-migrate');
        const status = typeof info === 'object' && info !== null && 'status' in info ? info['status'] : '';
        if (status === 'completed') break;
        if (status === 'failed') throw new Error(`migration failed: ${JSON.stringify(info)} ${this.stderr}`);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      await this.qmp.execute('cont');
    } finally {
      server.close();
    }
    return new Uint8Array(Buffer.concat(chunks));
  }

  close(): void {
    this.qtest.close();
    this.qmp.close();
    closeSync(this.#ram);
    kill(this.#process);
    rmSync(this.#dir, { recursive: true, force: true });
  }

  /**
   * Does what firmware would have done: all of low memory is RAM, the interrupts have lines, the root port has its
   * windows.
   */
  async #prepare(): Promise<void> {
    const { qtest, setup } = this;
    await qtest.ask('irq_intercept_in ioapic');
    const config = (dev: number, at: number, size: number, value: number): void => {
      qtest.send(`outl 0xcf8 ${(0x8000_0000 + dev * 0x800 + (at & ~3)) >>> 0}`);
      qtest.send(`out${suffix(size)} ${0xcfc + (at & 3)} ${value}`);
    };
    const pam = setup.express ? 0x90 : 0x59;
    config(0, pam, 1, 0x30);
    for (let i = 1; i < 7; i++) config(0, pam + i, 1, 0x33);
    config(0, setup.express ? 0x9d : 0x72, 1, 0x4a);
    if (setup.express) {
      config(0, 0x60, 4, ECAM | 1);
      config(SLOT, 0x18, 4, 0x00010100); // buses 0, 1, 1
      config(SLOT, 0x1c, 2, 0xf0c0); // I/O 0xc000 to 0xffff
      config(SLOT, 0x20, 4, 0xefffe000); // memory 0xe0000000 to 0xefffffff
      config(SLOT, 0x24, 4, 0xdff1c001 | 0); // prefetchable, 64 bits
      config(SLOT, 0x28, 4, 0);
      config(SLOT, 0x2c, 4, 0x8);
      config(SLOT, 0x04, 2, 7);
    } else {
      for (const [i, line] of PIRQ_LINES.entries()) config(1, 0x60 + i, 1, line);
    }
    await qtest.finish();
    await this.qmp.execute('migrate-set-capabilities', {
      capabilities: [{ capability: 'x-ignore-shared', state: true }],
    });
  }

  #cf8(at: number): number {
    return 0x8000_0000 + SLOT * 0x800 + (at & 0xfc);
  }

  #ecam(at: number): number {
    return ECAM + 0x100000 + at;
  }
}

function suffix(size: number): string {
  const found = READ[size as 1 | 2 | 4 | 8];
  if (found === undefined) throw new RangeError(`access of ${size} bytes`);
  return found;
}

const live = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of live) kill(child);
});

function kill(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // already gone
  }
}

function accept(server: Server, child: ChildProcess, errors: () => string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    server.once('connection', resolve);
    child.once('error', reject);
    child.once('close', (code, signal) =>
      reject(new Error(`QEMU did not start (${signal ?? code}): ${errors()}`)),
    );
  });
}

function onOff(value: boolean): string {
  return value ? 'on' : 'off';
}

function commandLine(setup: Setup): string[] {
  const nullDisk = 'driver=null-co,read-zeroes=on';
  const common = [
    setup.express ? 'bus=rp' : `addr=${SLOT}`,
    'id=dut',
    'ioeventfd=off',
    `packed=${onOff(setup.packed)}`,
    `vectors=${setup.vectors}`,
    `disable-legacy=${onOff(setup.interface === 'modern')}`,
    `disable-modern=${onOff(setup.interface === 'legacy')}`,
    `page-per-vq=${onOff(setup.pagePerVq)}`,
    `modern-pio-notify=${onOff(setup.notifyPio)}`,
  ].join(',');
  const device =
    setup.device === 'blk'
      ? [
          '-blockdev',
          setup.content
            ? 'driver=raw,node-name=disk,file.driver=file,file.filename=disk,file.locking=off'
            : `${nullDisk},node-name=disk,size=${DISK_BYTES}`,
          '-device',
          `virtio-blk-pci,${common},drive=disk,serial=${DISK_SERIAL},num-queues=${setup.queues},queue-size=${setup.queueSize},request-merging=off`,
        ]
      : [
          '-netdev',
          // nobody is there: what is sent is dropped at once
          'dgram,id=peer,local.type=unix,local.path=here,remote.type=unix,remote.path=nowhere',
          '-device',
          `virtio-net-pci,${common},netdev=peer,mac=${MAC},romfile=`,
        ];
  return [
    '-accel',
    'tcg',
    '-M',
    `${setup.express ? 'pc-q35-7.2' : 'pc-i440fx-7.2'},hpet=off,pflash0=firmware,pflash1=barrier,memory-backend=ram`,
    '-m',
    `${RAM_BYTES / 0x100000}M`,
    '-object',
    `memory-backend-file,id=ram,size=${RAM_BYTES},mem-path=ram,share=on`,
    '-display',
    'none',
    '-nodefaults',
    '-no-user-config',
    '-qmp',
    'unix:qmp.sock,server=on,wait=off',
    '-qtest',
    'unix:qtest.sock',
    '-qtest-log',
    'none',
    '-blockdev',
    'driver=file,filename=firmware,node-name=firmware,read-only=on',
    '-blockdev',
    `${nullDisk},node-name=barrier,size=${FIRMWARE_BYTES},latency-ns=1`,
    ...(setup.express ? ['-device', `pcie-root-port,id=rp,bus=pcie.0,addr=${SLOT},chassis=1`] : []),
    ...device,
    // for a closer look: VIRTKIT_QEMU_ARGS='-trace virtqueue_*'
    ...(process.env['VIRTKIT_QEMU_ARGS'] ?? '').split(' ').filter((arg) => arg !== ''),
  ];
}
