// Debian's kernel in v86 on our entropy device and our console, with its own drivers: a terminal, a port with a name, /dev/hwrng.
import { createHash } from 'node:crypto';
import {
  ConsoleDevice,
  type PortBackend,
  type PortOptions,
  type Terminal,
  terminalPort,
} from '@virtkit/device-console';
import { RngDevice } from '@virtkit/device-rng';
import { attach, moveGuest } from '@virtkit/v86';
import { describe, expect, test } from 'vitest';
import { delay, type Guest, linux, noGuest, scan, TIMEOUT_MS } from './world.ts';

const RNG_SLOT = 7;
const CONSOLE_SLOT = 6;
const PORT = 'org.example.agent';

/** A terminal whose screen is text. */
class Screen implements Terminal {
  readonly cols = 132;
  readonly rows = 43;
  text = '';
  #keys: (text: string) => void = () => {};
  #resized: (size: { cols: number; rows: number }) => void = () => {};

  onData(listener: (text: string) => void) {
    this.#keys = listener;
    return { dispose: () => {} };
  }

  onResize(listener: (size: { cols: number; rows: number }) => void) {
    this.#resized = listener;
    return { dispose: () => {} };
  }

  write(bytes: Uint8Array, shown?: () => void): void {
    this.text += Buffer.from(bytes).toString('latin1');
    shown?.();
  }

  type(keys: string): void {
    this.#keys(keys);
  }

  resize(cols: number, rows: number): void {
    this.#resized({ cols, rows });
  }

  /** Types a command until it answers this: a size comes on another queue than what is typed, and may be later. */
  async asks(command: string, answer: string): Promise<void> {
    for (let tries = 0; !this.text.includes(answer); tries++) {
      if (tries % 25 === 0) this.type(`${command}\r`);
      await delay(20);
    }
  }

  async shows(pattern: RegExp): Promise<string> {
    for (;;) {
      const found = pattern.exec(this.text);
      if (found !== null) return found[0];
      await delay(20);
    }
  }
}

/** The other end of a port: takes so many bytes, and then none until it is told to. */
class Agent implements PortBackend {
  readonly pieces: Buffer[] = [];
  left: number;
  port: Parameters<NonNullable<PortBackend['attach']>>[0] | undefined;

  constructor(left: number) {
    this.left = left;
  }

  attach(port: NonNullable<Agent['port']>): void {
    this.port = port;
  }

  write(bytes: Uint8Array, start: number, end: number): number {
    const taken = Math.min(end - start, this.left);
    this.left -= taken;
    this.pieces.push(Buffer.from(bytes.subarray(start, start + taken)));
    return taken;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.pieces);
  }
}

/** Waits in the guest for the port: its name comes after it. */
const NAMED =
  'n=0; while [ ! -e /sys/class/virtio-ports/vport0p1/name ] && [ $n -lt 200 ]; do usleep 100000; n=$((n + 1)); done';

function addConsole(guest: Guest, ports: readonly PortOptions[]): ConsoleDevice {
  const serial = new ConsoleDevice({ ports, sizes: true });
  attach(guest.emulator, serial, { slot: CONSOLE_SLOT, onEvent: (event) => guest.events.push(event) });
  return serial;
}

async function until(done: () => boolean): Promise<void> {
  while (!done()) await delay(20);
}

describe.skipIf(noGuest)('Linux', { timeout: TIMEOUT_MS }, () => {
  test('reads /dev/hwrng from our source of entropy', async () => {
    const guest = await linux();
    let given = 0;
    const backend = {
      // a slow source, and bytes that one can tell
      fill: async (target: Uint8Array) => {
        await delay(5);
        target.fill(0x42);
        given += target.length;
        return target.length;
      },
    };
    attach(guest.emulator, new RngDevice({ backend }), { slot: RNG_SLOT });
    await scan(guest);
    const { shell } = guest;
    expect(await shell.run('basename $(readlink /sys/bus/virtio/devices/virtio0/driver)')).toBe('virtio_rng');
    expect(await shell.run('cat /sys/class/misc/hw_random/rng_current')).toBe('virtio_rng.0');
    expect(await shell.run('dd if=/dev/hwrng bs=64 count=4 2>/dev/null | tr -d B | wc -c')).toBe('0');
    expect(given).toBeGreaterThanOrEqual(256);
    expect(guest.events).toEqual([]);
  });

  test('has a terminal on hvc0, with the size of its window, and a port with a name', async () => {
    const guest = await linux();
    const screen = new Screen();
    const agent = new Agent(Number.POSITIVE_INFINITY);
    addConsole(guest, [
      { console: true, backend: terminalPort(screen) },
      { name: PORT, backend: agent },
    ]);
    await scan(guest);
    const { shell } = guest;
    await shell.run(NAMED);
    expect(await shell.run('cat /sys/class/virtio-ports/vport0p1/name')).toBe(PORT);
    await shell.run('setsid sh -c "exec sh -i </dev/hvc0 >/dev/hvc0 2>&1" &');
    screen.type('echo $((6 * 7)) is it\r');
    expect(await screen.shows(/42 is it/)).toBe('42 is it');
    await screen.asks('stty size', '43 132');
    screen.resize(100, 30);
    await screen.asks('stty size', '30 100');

    await shell.run('echo ask > /dev/vport0p1');
    await until(() => agent.bytes.length === 4);
    expect(agent.bytes.toString()).toBe('ask\n');
    const heard = shell.start('head -n 1 /dev/vport0p1');
    await until(() => agent.port?.guestConnected === true);
    agent.port?.send(Buffer.from('answer\n'));
    expect((await heard.done).output).toBe('answer');
    await until(() => agent.port?.guestConnected === false);
    expect(guest.events).toEqual([]);
  });

  test('is moved while a write to a port is half done, and goes on where it stopped', async () => {
    const guest = await linux();
    const [here, there] = [new Agent(5000), new Agent(Number.POSITIVE_INFINITY)];
    const screens = [new Screen(), new Screen()] as const;
    const portsOf = (agent: Agent, screen: Screen): PortOptions[] => [
      { console: true, backend: terminalPort(screen) },
      { name: PORT, backend: agent },
    ];
    const serial = addConsole(guest, portsOf(here, screens[0]));
    await scan(guest);
    const { shell } = guest;
    await shell.run(NAMED);
    await shell.run('setsid sh -c "exec sh -i </dev/hvc0 >/dev/hvc0 2>&1" &');
    const sum = await shell.run('head -c 300000 /dev/urandom > /tmp/a; md5sum < /tmp/a | cut -d " " -f 1');
    const work = shell.start('cat /tmp/a > /dev/vport0p1');
    await until(() => here.left === 0);
    await delay(50);
    const target = await linux();
    const moved = addConsole(target, portsOf(there, screens[1]));
    await moveGuest(guest.emulator, target.emulator);
    shell.follow(target.emulator);
    expect((await work.done).status).toBe(0);
    await until(() => here.bytes.length + there.bytes.length === 300_000);
    expect(here.bytes.length).toBe(5000);
    const all = Buffer.concat([here.bytes, there.bytes]);
    expect(createHash('md5').update(all).digest('hex')).toBe(sum);
    // the terminal, too
    screens[1].type('echo still $((2 + 1))\r');
    await screens[1].shows(/still 3/);
    expect(serial.ports.map(({ id }) => id)).toEqual(moved.ports.map(({ id }) => id));
    expect([...guest.events, ...target.events]).toEqual([]);
  });
});
