// A real QEMU with a legacy virtio-blk on a raw disk image, driven through its registers by the qtest protocol.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PROGRAM = 'qemu-system-x86_64';
export const hasQemu: boolean = spawnSync(PROGRAM, ['--version']).status === 0;

const SLOT = 4;
const BAR = 0xc000;
/** Legacy registers. Virtio 1.3 §4.1.4.10 */
export const REGISTER = { features: 4, pfn: 8, select: 14, notify: 16, status: 18, isr: 19 } as const;

export class Qemu {
  readonly image: string;
  readonly #child: ChildProcess;
  readonly #socket: net.Socket;
  readonly #waiting: ((line: string) => void)[] = [];
  #text = '';

  private constructor(child: ChildProcess, socket: net.Socket, image: string) {
    this.#child = child;
    this.#socket = socket;
    this.image = image;
    socket.on('data', (data) => {
      this.#text += String(data);
      const lines = this.#text.split('\n');
      this.#text = lines.pop() ?? '';
      for (const line of lines) if (!line.startsWith('IRQ')) this.#waiting.shift()?.(line);
    });
  }

  static async start(content: Uint8Array, readOnly: boolean): Promise<Qemu> {
    const dir = fs.mkdtempSync(join(tmpdir(), 'virtkit-blk-'));
    const image = join(dir, 'disk');
    fs.writeFileSync(image, content);
    // a CPU that sleeps: hlt at the reset vector
    const firmware = new Uint8Array(65536).fill(0xf4);
    firmware.set([0xfa, 0xf4, 0xeb, 0xfd], 65536 - 16);
    fs.writeFileSync(join(dir, 'firmware'), firmware);
    const server = net.createServer();
    const connected = new Promise<net.Socket>((resolve) => server.once('connection', resolve));
    await new Promise<void>((resolve) => server.listen(join(dir, 'qtest'), resolve));
    const args =
      '-M pc-i440fx-7.2 -accel tcg -m 16M -display none -nodefaults -bios firmware -qtest unix:qtest';
    const drive = `file=disk,if=none,id=d0,format=raw${readOnly ? ',readonly=on' : ''}`;
    const device = `virtio-blk-pci,drive=d0,addr=${SLOT},disable-modern=on,serial=serial-0123,ioeventfd=off`;
    const child = spawn(
      PROGRAM,
      [...args.split(' '), '-qtest-log', 'none', '-drive', drive, '-device', device],
      { cwd: dir, stdio: 'ignore' },
    );
    child.once('exit', () => fs.rmSync(dir, { recursive: true, force: true }));
    const qemu = new Qemu(child, await connected, image);
    server.close();
    await qemu.#pci(0x10, 'l', BAR);
    await qemu.#pci(4, 'w', 7);
    return qemu;
  }

  stop(): void {
    this.#child.kill();
  }

  #ask(command: string): Promise<string> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#socket.write(`${command}\n`);
    });
  }

  async #pci(offset: number, width: 'w' | 'l', value: number): Promise<void> {
    await this.#ask(`outl ${0xcf8} ${0x80000000 + (SLOT << 11) + offset}`);
    await this.#ask(`out${width} ${0xcfc} ${value}`);
  }

  async set(register: number, width: 'b' | 'w' | 'l', value: number): Promise<void> {
    await this.#ask(`out${width} ${BAR + register} ${value}`);
  }

  async get(register: number): Promise<number> {
    return Number((await this.#ask(`inb ${BAR + register}`)).split(' ')[1]);
  }

  async write(at: number, bytes: Uint8Array): Promise<void> {
    await this.#ask(`write ${at} ${bytes.length} 0x${Buffer.from(bytes).toString('hex')}`);
  }

  async read(at: number, length: number): Promise<Uint8Array> {
    const hex = (await this.#ask(`read ${at} ${length}`)).split(' ')[1] ?? '';
    return Uint8Array.from(Buffer.from(hex.slice(2), 'hex'));
  }
}
