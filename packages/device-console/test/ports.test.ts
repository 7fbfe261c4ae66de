// What a port can be connected to, with the real things: Node's streams and sockets, the platform's streams.
import { once } from 'node:events';
import { connect as connectTo, createServer, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { type ConnectedPort, streamPort, type Terminal, terminalPort } from '@virtkit/device-console';
import { nodePort } from '@virtkit/device-console/node';
import { describe, expect, test } from 'vitest';
import { ascii, Machine, text } from './machine.ts';

function machineAt(backend: ConnectedPort, sizes = false): Machine {
  return new Machine({ maxPorts: 1, sizes, ports: [{ console: true, backend }] }, { without: [1] });
}

/** Lets events and promises have their turn. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function until(done: () => boolean): Promise<void> {
  while (!done()) await turn();
}

describe('streams of Node', () => {
  test('a socket, both ways', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    const here = connectTo(address.port, '127.0.0.1');
    const [there] = (await once(server, 'connection')) as [Socket];
    const m = machineAt(nodePort({ readable: here, writable: here }));
    m.write(1, ascii('hello from the guest'));
    const [heard] = (await once(there, 'data')) as [Buffer];
    expect(heard.toString()).toBe('hello from the guest');
    m.giveRoom(0, 4);
    there.write('hello to it');
    let received = '';
    const arrived = (bytes: number) => (): boolean => {
      received += m.received(0);
      return received.length === bytes;
    };
    await until(arrived(4));
    m.giveRoom(0, 3);
    await until(arrived(7));
    m.giveRoom(0, 100);
    await until(arrived(11));
    expect(received).toBe('hello to it');
    there.destroy();
    await once(here, 'close');
    expect(m.device.port(0).hostConnected).toBe(false);
    server.close();
  });

  test('a writable that is full makes the guest wait, and nothing is lost', async () => {
    const writable = new PassThrough({ highWaterMark: 16 });
    const m = machineAt(nodePort({ writable }));
    const sent = Array.from({ length: 20 }, (_, i) => `line ${i}\n`);
    for (const line of sent) m.write(1, ascii(line));
    // what is buffered, and no more
    expect(writable.readableLength + writable.writableLength).toBeLessThan(64);
    let read = '';
    writable.on('data', (chunk: Buffer) => {
      read += chunk.toString();
    });
    await until(() => read.length === sent.join('').length);
    expect(read).toBe(sent.join(''));
    expect(m.used(1)).toHaveLength(20);
  });

  test('a readable is not read while the guest has no room', async () => {
    const readable = new PassThrough({ highWaterMark: 16 });
    const m = machineAt(nodePort({ readable }));
    let accepted = true;
    let wanted = '';
    for (let i = 0; i < 100 && accepted; i++) {
      wanted += `word ${i} `;
      accepted = readable.write(`word ${i} `);
      await turn();
    }
    expect(accepted).toBe(false);
    let received = '';
    while (received.length < wanted.length) {
      m.giveRoom(0, 5);
      await turn();
      received += m.received(0);
    }
    expect(received).toBe(wanted);
  });

  test('lets go', async () => {
    const readable = new PassThrough();
    const backend = nodePort({ readable, writable: readable });
    const m = machineAt(backend);
    backend.disconnect();
    m.giveRoom(0, 10);
    readable.write('x');
    await turn();
    expect(m.received(0)).toBe('');
    expect(readable.listenerCount('drain') + readable.listenerCount('data')).toBe(0);
  });
});

describe('streams of the web platform', () => {
  test('both ways, through all that is slow', async () => {
    const out = new TransformStream<Uint8Array, Uint8Array>(
      undefined,
      { highWaterMark: 1 },
      { highWaterMark: 0 },
    );
    const into = new TransformStream<Uint8Array, Uint8Array>();
    const m = machineAt(streamPort({ readable: into.readable, writable: out.writable }));
    const lines = Array.from({ length: 8 }, (_, i) => `line ${i}\n`);
    for (const line of lines) m.write(1, ascii(line));
    expect(m.used(1).length).toBeLessThan(lines.length);
    const reader = out.readable.getReader();
    let read = '';
    while (read.length < lines.join('').length) read += text((await reader.read()).value ?? []);
    expect(read).toBe(lines.join(''));
    const writer = into.writable.getWriter();
    const written = writer.write(ascii('keys that are typed'));
    let received = '';
    for (let i = 0; i < 40 && received.length < 19; i++) {
      m.giveRoom(0, 2);
      await turn();
      received += m.received(0);
    }
    await written;
    expect(received).toBe('keys that are typed');
  });

  test('a sink that fails closes the port, and what the guest writes then is thrown away', async () => {
    const writable = new WritableStream<Uint8Array>({
      write: () => {
        throw new Error('the line is cut');
      },
    });
    const m = machineAt(streamPort({ writable }));
    m.write(1, ascii('abc'));
    await until(() => !m.device.port(0).hostConnected);
    m.write(1, ascii('def'));
    expect(m.used(1)).toHaveLength(2);
  });
});

/** A terminal whose screen takes its time. */
class SlowTerminal implements Terminal {
  cols = 80;
  rows = 24;
  readonly unseen: { readonly bytes: Uint8Array; readonly shown: (() => void) | undefined }[] = [];
  screen = '';
  readonly #listeners = new Map<string, (value: never) => void>();

  onData = (listener: (value: string) => void) => this.#on('data', listener);
  onBinary = (listener: (value: string) => void) => this.#on('binary', listener);
  onResize = (listener: (size: { cols: number; rows: number }) => void) => this.#on('resize', listener);

  write(bytes: Uint8Array, shown?: () => void): void {
    this.unseen.push({ bytes, shown });
  }

  show(): void {
    const next = this.unseen.shift();
    this.screen += text(next?.bytes ?? []);
    next?.shown?.();
  }

  type(keys: string): void {
    (this.#listeners.get('data') as ((value: string) => void) | undefined)?.(keys);
  }

  binary(keys: string): void {
    (this.#listeners.get('binary') as ((value: string) => void) | undefined)?.(keys);
  }

  resize(cols: number, rows: number): void {
    (this.#listeners.get('resize') as ((value: object) => void) | undefined)?.({ cols, rows });
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  #on(name: string, listener: (value: never) => void) {
    this.#listeners.set(name, listener);
    return { dispose: () => void this.#listeners.delete(name) };
  }
}

describe('a terminal', () => {
  test('shows, types and is resized', () => {
    const terminal = new SlowTerminal();
    const m = machineAt(terminalPort(terminal), true);
    expect([m.driver.config.read(0, 2), m.driver.config.read(2, 2)]).toEqual([80, 24]);
    m.write(1, ascii('login: '));
    terminal.show();
    expect(terminal.screen).toBe('login: ');
    terminal.type('rø');
    m.giveRoom(0, 2);
    terminal.binary('\xff');
    expect(m.received(0)).toBe('r\xc3');
    m.giveRoom(0, 10, 10);
    expect(m.received(0)).toBe('\xb8\xff');
    terminal.resize(132, 43);
    expect(m.driver.config.read(0, 2)).toBe(132);
  });

  test('that is slow makes the guest wait: no more than 128 KiB are on their way', () => {
    const terminal = new SlowTerminal();
    const m = machineAt(terminalPort(terminal));
    const line = new Uint8Array(60_000).fill(0x2e);
    for (let i = 0; i < 5; i++) m.write(1, line);
    const waiting = (): number => terminal.unseen.reduce((sum, { bytes }) => sum + bytes.length, 0);
    expect(waiting()).toBe(1 << 17);
    while (terminal.unseen.length > 0) {
      terminal.show();
      expect(waiting()).toBeLessThanOrEqual(1 << 17);
    }
    expect(terminal.screen.length).toBe(300_000);
  });

  test('pastes of more than 1 MiB to a guest that does not read are lost, and typing goes on', () => {
    const terminal = new SlowTerminal();
    const m = machineAt(terminalPort(terminal));
    terminal.type('a'.repeat(1 << 20));
    terminal.type('b');
    m.giveRoom(0, 1 << 19, 1 << 19);
    terminal.type('c');
    m.giveRoom(0, 8);
    const received = m.received(0);
    expect([received.length, received.slice(-2)]).toEqual([(1 << 20) + 1, 'ac']);
  });

  test('lets go', () => {
    const terminal = new SlowTerminal();
    const backend = terminalPort(terminal);
    const m = machineAt(backend);
    backend.disconnect();
    expect(terminal.listeners).toBe(0);
    m.write(1, ascii('x'));
    expect([m.used(1).length, terminal.unseen.length]).toEqual([1, 0]);
  });
});
