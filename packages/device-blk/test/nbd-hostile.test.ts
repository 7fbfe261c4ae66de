// Servers that break the NBD protocol, or say what none of the real ones here says: each is an error with a code, and nothing hangs.
import fs from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type NbdDisk, type NbdDiskOptions, type NbdEvent, nbdDisk } from '@virtkit/device-blk/nbd';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ArraySpans } from '../src/disk/array-spans.ts';
import { pattern } from './machine.ts';

const SIZE = 1 << 20;
const CONTENT = pattern(SIZE, 3);
type Form = 'simple' | 'structured' | 'extended';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
const u16 = (value: number): string => value.toString(16).padStart(4, '0');
const u32 = (value: number): string => value.toString(16).padStart(8, '0');
const u64 = (value: number | bigint): string => value.toString(16).padStart(16, '0');

const GREETING = '4e42444d41474943 49484156454f5054 0003';
const optionReply = (option: number, type: number, data = ''): string =>
  `0003e889045565a9 ${u32(option)} ${u32(type)} ${u32(hex(data).length)} ${data}`;
const exportInfo = (size: number | bigint, flags: number): string =>
  optionReply(7, 3, `0000 ${u64(size)} ${u16(flags)}`);
/** HAS_FLAGS, FLUSH, FUA, TRIM, WRITE_ZEROES. */
const FLAGS = 0x6d;

interface Command {
  readonly flags: number;
  readonly type: number;
  readonly cookie: string;
  readonly position: number;
  readonly length: number;
  readonly data: Buffer;
}

/** What a server says: to options (by number), and to commands. */
interface Script {
  readonly form?: Form;
  readonly greeting?: string;
  readonly go?: string;
  /** Further ones are agreed with, and closed. */
  readonly connectionsMax?: number;
  /** Hex digits to send; undefined: nothing; `close`: the connection is cut. */
  readonly answer?: (command: Command, server: Scripted) => string | undefined;
}

/** An in-process server that follows a script, with a disk in memory for what the script leaves out. */
class Scripted {
  readonly bytes = CONTENT.slice();
  readonly commands: Command[] = [];
  readonly script: Script;
  readonly form: Form;
  #server: Server | undefined;
  readonly #sockets = new Set<Socket>();
  connections = 0;

  constructor(script: Script) {
    this.script = script;
    this.form = script.form ?? 'structured';
  }

  async listen(path: string): Promise<void> {
    const server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      this.#serve(socket).catch(() => socket.destroy());
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(path, resolve));
  }

  /** Says more, on the connection that was made first. */
  answerLate(text: string): void {
    for (const socket of this.#sockets) {
      socket.write(hex(text));
      return;
    }
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server?.close(resolve));
  }

  async #serve(socket: Socket): Promise<void> {
    let kept = Buffer.alloc(0);
    const chunks = socket[Symbol.asyncIterator]();
    const take = async (length: number): Promise<Buffer> => {
      while (kept.length < length) {
        const { value, done } = await chunks.next();
        if (done === true) throw new Error('end');
        kept = Buffer.concat([kept, value as Buffer]);
      }
      const bytes = kept.subarray(0, length);
      kept = kept.subarray(length);
      return bytes;
    };
    socket.write(hex(this.script.greeting ?? GREETING));
    await take(4);
    for (let option = 0; option !== 7; ) {
      const head = await take(16);
      option = head.readUInt32BE(8);
      await take(head.readUInt32BE(12));
      socket.write(hex(this.#option(option)));
    }
    if (++this.connections > (this.script.connectionsMax ?? Number.POSITIVE_INFINITY)) {
      socket.destroy();
      return;
    }
    for (;;) {
      const head = await take(this.form === 'extended' ? 32 : 28);
      const type = head.readUInt16BE(6);
      if (type === 2) return;
      const length = this.form === 'extended' ? Number(head.readBigUInt64BE(24)) : head.readUInt32BE(24);
      const command = {
        ...{ flags: head.readUInt16BE(4), type, length, cookie: u64(head.readBigUInt64BE(8)) },
        position: Number(head.readBigUInt64BE(16)),
        data: type === 1 ? Buffer.from(await take(length)) : Buffer.alloc(0),
      };
      this.commands.push(command);
      const answer =
        this.script.answer === undefined ? this.right(command) : this.script.answer(command, this);
      if (answer === 'close') socket.destroy();
      else if (answer !== undefined) socket.write(hex(answer));
    }
  }

  #option(option: number): string {
    if (option === 7) return this.script.go ?? `${exportInfo(SIZE, FLAGS)}${optionReply(7, 1)}`;
    const agreed = option === 11 ? this.form === 'extended' : this.form === 'structured';
    return optionReply(option, agreed ? 1 : 0x80000001);
  }

  /** What a good server answers. */
  right({ type, cookie, position, length, data }: Command): string {
    if (type === 1) this.bytes.set(data, position);
    if (type !== 0) return this.chunk(cookie, 0, 1, '');
    const bytes = Buffer.from(this.bytes.subarray(position, position + length)).toString('hex');
    if (this.form === 'simple') return `67446698 00000000 ${cookie} ${bytes}`;
    return this.chunk(cookie, 1, 1, `${u64(position)} ${bytes}`);
  }

  chunk(cookie: string, type: number, flags: number, payload: string): string {
    if (this.form === 'simple') return `67446698 00000000 ${cookie}`;
    const length = hex(payload).length;
    return this.form === 'structured'
      ? `668e33ef ${u16(flags)} ${u16(type)} ${cookie} ${u32(length)} ${payload}`
      : `6e8a278c ${u16(flags)} ${u16(type)} ${cookie} ${u64(0)} ${u64(length)} ${payload}`;
  }
}

let dir = '';
const open: { close(): unknown }[] = [];
beforeEach(() => {
  dir = fs.mkdtempSync(join(tmpdir(), 'virtkit-nbd-hostile-'));
});
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
  fs.rmSync(dir, { recursive: true });
});

async function serving(
  script: Script,
  options: NbdDiskOptions = {},
): Promise<{ disk: NbdDisk; server: Scripted }> {
  const server = new Scripted(script);
  await server.listen(join(dir, 's'));
  open.push(server);
  const disk = await nbdDisk(`nbd+unix:///?socket=${join(dir, 's')}`, { timeoutMs: 5000, ...options });
  open.push(disk);
  return { disk, server };
}

async function read(disk: NbdDisk, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length, 0xaa);
  await disk.read(position, new ArraySpans(bytes), 0, length);
  return bytes;
}

const write = async (disk: NbdDisk, position: number, bytes: Uint8Array): Promise<void> => {
  await disk.write(position, new ArraySpans(bytes), 0, bytes.length);
};

describe('what is said before there is an agreement', () => {
  test.each([
    ['no NBD at all', { greeting: '485454502f312e31203430302042616420526571' }, 'EPROTO', /no NBD server/],
    [
      'the oldstyle protocol',
      { greeting: '4e42444d41474943 0000420281861253 0000000000100000' },
      'EPROTO',
      /oldstyle/,
    ],
    [
      'newstyle, not fixed',
      { greeting: '4e42444d41474943 49484156454f5054 0000' },
      'EPROTO',
      /fixed newstyle/,
    ],
    ['no size', { go: optionReply(7, 1) }, 'EPROTO', /nothing of the size/],
    [
      'a size of 2^60',
      { go: `${exportInfo(1n << 60n, 1)}${optionReply(7, 1)}` },
      'EPROTO',
      /1152921504606846976 bytes/,
    ],
    ['another option', { go: optionReply(8, 1) }, 'EPROTO', /answers option 8; option 7/],
    [
      'a very long answer',
      { go: `0003e889045565a9 00000007 00000003 ${u32(1 << 20)}` },
      'EPROTO',
      /1048576 bytes/,
    ],
    ['things without end', { go: optionReply(7, 3, '0001').repeat(65) }, 'EPROTO', /more than 64/],
    [
      'a minimum of 3 bytes',
      { go: optionReply(7, 3, `0003 ${u32(3)}${u32(4096)}${u32(1 << 20)}`) },
      'EPROTO',
      /minimum block size is 3/,
    ],
    [
      'a maximum below the minimum',
      { go: optionReply(7, 3, `0003 ${u32(4096)}${u32(4096)}${u32(512)}`) },
      'EPROTO',
      /below its minimum/,
    ],
    [
      'no such export',
      { go: optionReply(7, 0x80000006, Buffer.from('no cigar').toString('hex')) },
      'ENOENT',
      /no such export \(no cigar\)/,
    ],
    ['a refusal', { go: optionReply(7, 0x80000002) }, 'ECONNREFUSED', /forbids/],
  ] as const)('%s', async (_, script, code, words) => {
    await expect(serving(script)).rejects.toMatchObject({ code, message: expect.stringMatching(words) });
  });

  test('nothing', async () => {
    await expect(serving({ greeting: '' }, { timeoutMs: 100 })).rejects.toMatchObject({ code: 'ETIMEDOUT' });
  });
});

test.each(['simple', 'structured', 'extended'] as const)(
  '%s replies, whatever way they are cut',
  async (form) => {
    const { disk, server } = await serving({ form });
    expect(disk.connection.replies).toBe(form);
    await write(disk, 512, pattern(4096, 8));
    await disk.flush?.();
    expect((await read(disk, 0, 65536)).equals(Buffer.from(server.bytes.subarray(0, 65536)))).toBe(true);
    const [, written] = server.commands;
    // with extended headers a write says that its length is that of what follows
    expect([written?.type, written?.flags]).toEqual([1, form === 'extended' ? 32 : 0]);
  },
);

test('chunks in any order, holes, and an error with words among them', async () => {
  const { disk, server } = await serving({
    answer: (command, self) => {
      const { type, cookie, position, length } = command;
      if (type !== 0 || length !== 4096) return self.right(command);
      const data = (at: number, bytes: number): string =>
        `${u64(at)} ${Buffer.from(self.bytes.subarray(at, at + bytes)).toString('hex')}`;
      const hole = self.chunk(cookie, 2, 0, `${u64(position + 512)} ${u32(512)}`);
      if (position === 0)
        return [
          self.chunk(cookie, 1, 0, data(3072, 1024)),
          self.chunk(cookie, 1, 0, data(0, 512)),
          hole,
          self.chunk(cookie, 1, 1, data(1024, 2048)),
        ].join('');
      const words = Buffer.from('the moon is full').toString('hex');
      return `${hole}${self.chunk(cookie, 0x8002, 0, `${u32(28)} 0010 ${words} ${u64(position)}`)}${self.chunk(cookie, 0, 1, '')}`;
    },
  });
  const right = Buffer.from(server.bytes.subarray(0, 4096));
  right.fill(0, 512, 1024);
  expect((await read(disk, 0, 4096)).equals(right)).toBe(true);
  await expect(read(disk, 8192, 4096)).rejects.toMatchObject({
    code: 'ENOSPC',
    message: expect.stringContaining('the moon is full'),
  });
});

describe('a reply that breaks the protocol fails what was under way, and the disk goes on over another connection', () => {
  const at = u64(4096);
  const bytes = (length: number): string => '55'.repeat(length);
  test.each<[string, (cookie: string, self: Scripted) => string]>([
    ['bytes before the read', (cookie, self) => self.chunk(cookie, 1, 1, `${u64(0)} ${bytes(512)}`)],
    ['bytes behind the read', (cookie, self) => self.chunk(cookie, 1, 1, `${at} ${bytes(513)}`)],
    ['too few', (cookie, self) => self.chunk(cookie, 1, 1, `${at} ${bytes(511)}`)],
    ['none', (cookie, self) => self.chunk(cookie, 0, 1, '')],
    ['some twice', (cookie, self) => self.chunk(cookie, 1, 0, `${at} ${bytes(512)}`).repeat(2)],
    ['a hole that is too large', (cookie, self) => self.chunk(cookie, 2, 1, `${at} ${u32(0xffffffff)}`)],
    ['a hole without a size', (cookie, self) => self.chunk(cookie, 2, 1, at)],
    ['a chunk of no kind', (cookie, self) => self.chunk(cookie, 77, 1, at)],
    ['an end that is none', (cookie, self) => self.chunk(cookie, 0, 0, '')],
    ['an error of 4 GiB', (cookie) => `668e33ef 0001 8001 ${cookie} ffffffff`],
    ['a text longer than its error', (cookie, self) => self.chunk(cookie, 0x8001, 1, `${u32(5)} ffff`)],
    ['another request', (_, self) => self.chunk(u64(0xdead), 0, 1, '')],
    ['no structure', (cookie) => `67446698 00000000 ${cookie} ${bytes(512)}`],
    ['no reply', () => '00112233445566778899aabbccddeeff'],
  ])('%s', async (_, answer) => {
    let evil = true;
    const events: NbdEvent[] = [];
    const { disk, server } = await serving(
      {
        answer: (command, self) => {
          if (command.position !== 4096 || !evil) return self.right(command);
          evil = false;
          return answer(command.cookie, self);
        },
      },
      { onEvent: (event) => events.push(event) },
    );
    await expect(read(disk, 4096, 512)).rejects.toMatchObject({ code: 'EPROTO' });
    expect((await read(disk, 4096, 512)).equals(Buffer.from(server.bytes.subarray(4096, 4608)))).toBe(true);
    expect(events.map(({ type }) => type)).toEqual(['lost', 'connected']);
  });
});

test('a read of which another piece is missing each time is not remembered in pieces without end', async () => {
  const length = 1 << 20;
  const { disk } = await serving({
    answer: (command, self) =>
      command.length < length
        ? self.right(command)
        : Array.from({ length: 1100 }, (_, n) => self.chunk(command.cookie, 1, 0, `${u64(2 * n)} 55`)).join(
            '',
          ),
  });
  await expect(read(disk, 0, length)).rejects.toMatchObject({ code: 'EPROTO' });
});

test('random bytes instead of replies: an error with a code, each time', { timeout: 120_000 }, async () => {
  let reply = '';
  const { disk } = await serving(
    {
      answer: (command, self) => (command.position === 4096 ? reply : self.right(command)),
    },
    { timeoutMs: 300 },
  );
  const edge = fc.constantFrom(
    '668e33ef',
    '67446698',
    '0001',
    '0000',
    '8001',
    u64(2),
    u64(3),
    u32(8),
    u32(520),
    u64(4096),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.oneof(
          edge,
          fc.uint8Array({ maxLength: 16 }).map((b) => Buffer.from(b).toString('hex')),
        ),
        { minLength: 1, maxLength: 12 },
      ),
      async (parts) => {
        // whoever gets nothing useful closes after its time; this closes at once
        reply = `${parts.join('')}${'ff'.repeat(64)}`;
        const code = await read(disk, 4096, 512).then(
          () => 'none',
          (error: { code?: string }) => error.code,
        );
        expect(code).toMatch(/^E[A-Z]+$|^none$/);
        // an answer, after which the next one that breaks the protocol is connected to at once
        while ((await read(disk, 0, 512).catch(() => undefined)) === undefined);
      },
    ),
    { numRuns: 40 },
  );
});

describe('a connection that is cut', () => {
  test('at each command once: all are done again, and none is told twice', async () => {
    const seen = new Set<string>();
    const { disk, server } = await serving({
      answer: (command, self) => {
        const key = `${command.type} ${command.position}`;
        if (seen.has(key)) return self.right(command);
        seen.add(key);
        // what it has done it does not tell
        self.right(command);
        return 'close';
      },
    });
    await Promise.all([1, 2, 3].map((n) => write(disk, n * 4096, pattern(512, n))));
    await disk.flush?.();
    for (const n of [1, 2, 3]) expect((await read(disk, n * 4096, 512)).equals(pattern(512, n))).toBe(true);
    expect(server.commands.length).toBeGreaterThan(8);
  });

  test('what was written and not flushed is written again, in its order, and before anything else', async () => {
    let cut = false;
    const { disk, server } = await serving({
      answer: (command, self) => {
        if (command.type === 0 && cut) {
          cut = false;
          // as if it had lost its cache
          self.bytes.fill(0);
          return 'close';
        }
        return self.right(command);
      },
    });
    await write(disk, 0, pattern(512, 1));
    await disk.flush?.();
    await write(disk, 4096, pattern(1024, 2));
    await write(disk, 4608, pattern(512, 3));
    cut = true;
    const bytes = await read(disk, 0, 8192);
    expect(bytes.subarray(4096, 4608).equals(pattern(1024, 2).subarray(0, 512))).toBe(true);
    expect(bytes.subarray(4608, 5120).equals(pattern(512, 3))).toBe(true);
    // that was stable
    expect(bytes.subarray(0, 512).equals(Buffer.alloc(512))).toBe(true);
    expect(server.commands.slice(-3).map(({ type, position }) => [type, position])).toEqual([
      [1, 4096],
      [1, 4608],
      [0, 0],
    ]);
  });

  test('a server that is back with a smaller export: what lies behind its end is refused, and not taken for done', async () => {
    let state: 'good' | 'cut' = 'good';
    const script = {
      go: `${exportInfo(SIZE, FLAGS)}${optionReply(7, 1)}`,
      answer: (command: Command, self: Scripted) => {
        if (state === 'good') return self.right(command);
        state = 'good';
        script.go = `${exportInfo(SIZE / 2 - 100, FLAGS)}${optionReply(7, 1)}`;
        return 'close';
      },
    };
    const { disk } = await serving(script, { discard: 'unmap' });
    state = 'cut';
    await read(disk, 0, 512);
    expect(disk.size).toBe(SIZE / 2 - 100);
    const behind = SIZE / 2;
    for (const refused of [
      () => write(disk, behind, pattern(512, 1)),
      () => write(disk, behind - 512, pattern(1024, 1)),
      () => read(disk, behind, 512),
      () => disk.writeZeroes?.(behind, 4096, false),
      () => disk.discard?.(behind, 4096),
    ])
      await expect((async () => refused())()).rejects.toMatchObject({ code: 'ENOSPC' });
    // the last sector is the export's as far as it goes
    await write(disk, behind - 512, pattern(512, 4));
    expect(
      (await read(disk, behind - 512, 512)).subarray(0, 412).equals(pattern(512, 4).subarray(0, 412)),
    ).toBe(true);
  });

  test('a server that refuses then what it had taken: the next flush fails, and all after it', async () => {
    let state: 'good' | 'cut' | 'full' = 'good';
    const { disk } = await serving({
      answer: (command, self) => {
        if (command.type === 0 && state === 'cut') {
          state = 'full';
          return 'close';
        }
        if (command.type === 1 && state === 'full')
          return self.chunk(command.cookie, 0x8001, 1, `${u32(28)} 0000`);
        return self.right(command);
      },
    });
    await write(disk, 0, pattern(512, 1));
    state = 'cut';
    await read(disk, 0, 512);
    await expect(Promise.resolve().then(() => disk.flush?.())).rejects.toMatchObject({ code: 'ENOSPC' });
    await expect(Promise.resolve().then(() => disk.flush?.())).rejects.toMatchObject({ code: 'ENOSPC' });
  });
});

test('a flush while another is under way has not ended before it', async () => {
  let held: string | undefined;
  const { disk, server } = await serving({
    answer: (command, self) => {
      if (command.type !== 3) return self.right(command);
      held = self.right(command);
      return undefined;
    },
  });
  await write(disk, 0, pattern(512, 1));
  const order: string[] = [];
  const first = Promise.resolve(disk.flush?.()).then(() => order.push('first'));
  const second = Promise.resolve(disk.flush?.()).then(() => order.push('second'));
  while (held === undefined) await sleep(5);
  expect(order).toEqual([]);
  order.push('answer');
  server.answerLate(held);
  await Promise.all([first, second]);
  expect(order[0]).toBe('answer');
  // nothing was written since
  expect(disk.flush?.()).toBeUndefined();
});

test('a server that agrees, and breaks off at each request, is asked less and less often', async () => {
  let isBad = false;
  const events: NbdEvent[] = [];
  const { disk, server } = await serving(
    { answer: (command, self) => (isBad ? 'close' : self.right(command)) },
    { timeoutMs: 1000, onEvent: (event) => events.push(event) },
  );
  isBad = true;
  const before = server.commands.length;
  await expect(read(disk, 0, 512)).rejects.toMatchObject({ code: 'ETIMEDOUT' });
  // 0, 50, 150, 350, 750 ms
  expect(server.commands.length - before).toBeLessThan(8);
  expect(events.filter(({ type }) => type === 'lost').length).toBeLessThan(8);
  isBad = false;
  // the pause that it has come to may be longer than one request takes
  let good: Buffer | undefined;
  while (good === undefined) good = await read(disk, 0, 512).catch(() => undefined);
  expect(good.equals(Buffer.from(server.bytes.subarray(0, 512)))).toBe(true);
});

test('a server that takes one connection of four works over that one', async () => {
  const events: NbdEvent[] = [];
  // MULTI_CONN beside what it can
  const go = `${exportInfo(SIZE, FLAGS | 0x100)}${optionReply(7, 1)}`;
  const { disk, server } = await serving(
    { go, connectionsMax: 1 },
    { onEvent: (event) => events.push(event) },
  );
  for (let n = 0; n < 20; n++) {
    await write(disk, n * 512, pattern(512, n));
    await sleep(5);
  }
  expect((await read(disk, 19 * 512, 512)).equals(pattern(512, 19))).toBe(true);
  expect([disk.connection.count, events]).toEqual([1, []]);
  expect(server.connections).toBeLessThanOrEqual(5);
});

test('no more unflushed writes are kept than was agreed: the disk flushes by itself, and waits', async () => {
  let flush: string | undefined;
  const { disk, server } = await serving(
    {
      answer: (command, self) => {
        if (command.type !== 3) return self.right(command);
        flush = self.right(command);
        return undefined;
      },
    },
    { keepBytes: 64 << 10 },
  );
  const done: number[] = [];
  const writes = Array.from({ length: 40 }, async (_, n) => {
    await write(disk, n * 8192, pattern(8192, n));
    done.push(n);
  });
  while (flush === undefined || server.commands.length < 42) await sleep(5);
  await sleep(20);
  // 64 KiB and as many again, and those that were answered before it was noticed
  expect(done.length).toBeLessThan(20);
  await disk.read(0, new ArraySpans(new Uint8Array(512)), 0, 512);
  // the flush is answered, on the connection that asked for it
  server.answerLate(flush);
  await Promise.all(writes);
  expect(done.length).toBe(40);
});

test('writethrough is FUA, and nothing is left to flush', async () => {
  const { disk, server } = await serving({}, { cache: 'writethrough' });
  expect(disk.writeCache).toBe(false);
  await write(disk, 0, pattern(512, 1));
  expect(server.commands.at(-1)).toMatchObject({ type: 1, flags: 1 });
  expect(disk.flush?.()).toBeUndefined();
});

test.each([
  ['http://localhost/', /no NBD address/],
  ['nbd://', /needs a host|is expected/],
  ['nbd+unix:///x', /needs \?socket=PATH/],
  ['nbd://h/?socket=/x', /takes no socket/],
  ['nbd://h/?tls-verify=1', /no parameter "tls-verify"/],
  ['nbd://h/%ff', /not percent-encoded/],
  ['', /is expected/],
])('the address %s', async (uri, words) => {
  await expect(nbdDisk(uri)).rejects.toThrow(words);
});
