// What people keep streams in, and what they take for one: unpacked where Node can, else named, with what to do.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, readFileSync, type WriteStream, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import * as zlib from 'node:zlib';
import { findQemu, Qemu } from '@virtkit/lab';
import { formatOf, HEAD_BYTES } from '@virtkit/migration/files';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { unpacked } from '../src/unpack.ts';
import { root } from './command.ts';
import { until, useMigrating } from './migrating.ts';

const file = `${root}packages/lab/streams/10.0.13/q100-s390-io.mig.gz`;
const stream = zlib.gunzipSync(readFileSync(file));
const hasZstd = Reflect.has(zlib, 'createZstdDecompress');
const has = (program: string): boolean => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;

const migrating = useMigrating();
const at = (name: string): string => join(migrating.home(), name);
const keep = (name: string, bytes: Uint8Array): string => {
  writeFileSync(at(name), bytes);
  return at(name);
};

async function run(...args: readonly string[]) {
  const running = migrating.virtkit(...args);
  const status = await running.ended;
  return { status, stdout: running.stdout(), stderr: running.stderr() };
}

/** What libvirt writes in front of a stream. libvirt: `virQEMUSaveHeader` */
function saveFile(
  compressed: number,
  body: Uint8Array,
  { magic = 'LibvirtQemudSave', little = true } = {},
): Buffer {
  const xml = Buffer.from('<domain type="kvm"><name>guest</name></domain>\0'.padEnd(300, '\0'));
  const head = Buffer.alloc(92);
  head.write(magic, 'latin1');
  [2, xml.length, 1, compressed].forEach((value, index) => {
    if (little) head.writeUInt32LE(value, 16 + 4 * index);
    else head.writeUInt32BE(value, 16 + 4 * index);
  });
  return Buffer.concat([head, xml, body]);
}

const pack = (program: string, bytes: Uint8Array): Buffer => {
  const { stdout, status } = spawnSync(program, ['-c'], { input: bytes, maxBuffer: 1 << 28 });
  if (status !== 0) throw new Error(`${program} failed`);
  return stdout;
};

const messageOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return '';
};

describe('a libvirt save file', () => {
  test.each([true, false])('packed with gzip is read as a raw one is (little-endian: %s)', async (little) => {
    const raw = await run('inspect', '--json', keep('raw', saveFile(0, stream, { little })));
    const packed = keep('packed', saveFile(1, zlib.gzipSync(stream), { little }));
    expect(await run('inspect', '--json', packed)).toEqual(raw);
    expect(raw.status).toBe(0);
    expect(await run('verify', packed)).toMatchObject({ status: 0, stderr: '' });
    // what is written is a raw one
    expect(
      await run('convert', packed, at('out'), '--to', 'qemu-10.0,capabilities=x-ignore-shared'),
    ).toMatchObject({ status: 0 });
    expect(readFileSync(at('out')).equals(readFileSync(at('raw')))).toBe(true);
  });

  test.each([
    [2, 'bzip2'],
    [3, 'xz'],
    [4, 'lzop'],
    [5, 'zstd'],
  ] as const)(
    '%i: packed with %s is read as a raw one is, where there is a program for it',
    async (compressed, name) => {
      if (!has(name) && !(name === 'zstd' && hasZstd))
        return console.warn(`SKIPPED: ${name} is not installed`);
      const raw = await run('inspect', '--json', keep('raw', saveFile(0, stream)));
      const packed = keep('packed', saveFile(compressed, pack(name, stream)));
      expect(await run('inspect', '--json', packed)).toEqual(raw);
      expect(await run('verify', packed)).toMatchObject({ status: 0, stderr: '' });
      const whole = pack(name, stream);
      const { status, stderr } = await run(
        'inspect',
        keep('cut', saveFile(compressed, whole.subarray(0, whole.length >> 1))),
      );
      expect(status).toBe(3);
      expect(stderr).toContain(`the ${name} data cannot be unpacked`);
    },
  );

  test.each([
    [2, 'bzip2', 'bzip2 -dc'],
    [3, 'xz', 'xz -dc'],
    [4, 'lzop', 'lzop -dc'],
    [5, 'zstd', 'zstd -dc'],
  ] as const)(
    '%i: packed with %s is named where there is none, and the command is right',
    (compressed, name, command) => {
      const known = has(name);
      if (!known) console.warn(`SKIPPED: that the command for ${name} is right, for there is no ${name}`);
      const path = keep('save', saveFile(compressed, known ? pack(name, stream) : Buffer.alloc(100)));
      const message = messageOf(() => formatOf(readFileSync(path).subarray(0, HEAD_BYTES), () => false));
      expect(message).toContain(`whose stream is packed with ${name}`);
      expect(message).toMatch(/It holds the whole machine/);
      const [, line = ''] = /unpack it first \((.*) \| virtkit … -\)/.exec(message) ?? [];
      expect(line).toContain(command);
      if (!known) return;
      const unpacking = spawnSync('sh', ['-c', line.replace('FILE', `'${path}'`)], { maxBuffer: 1 << 28 });
      expect(unpacking.stdout.equals(stream)).toBe(true);
    },
  );

  test('that is cut within what is packed is shown as far as it goes', async () => {
    const packed = saveFile(1, zlib.gzipSync(stream).subarray(0, -8));
    const { status, stdout, stderr } = await run('inspect', keep('cut', packed));
    expect([status, stdout]).toEqual([3, expect.stringContaining('virtio-net@/fe.0.beef')]);
    expect(stderr).toMatch(/gzip data cannot be unpacked/);
  });
});

describe('packed as a whole', () => {
  test.each(['gzip', 'zstd', 'xz', 'bzip2', 'lzop', 'lz4'])('%s', async (name) => {
    if (!has(name)) return console.warn(`SKIPPED: ${name} is not installed`);
    const path = keep('stream', pack(name, stream));
    const { status, stderr } = await run('inspect', path);
    expect([status, stderr]).toEqual([0, '']);
    const message = messageOf(() => formatOf(readFileSync(path).subarray(0, HEAD_BYTES), () => false));
    expect(message).toContain(`not a migration stream but ${name} data: unpack it first (${name} -dc FILE`);
  });
});

describe('a memory dump', () => {
  const elf = (type: number, little: boolean): Buffer => {
    const head = Buffer.alloc(200);
    head.write('\x7fELF\x02', 'latin1');
    head[5] = little ? 1 : 2;
    if (little) head.writeUInt16LE(type, 16);
    else head.writeUInt16BE(type, 16);
    return head;
  };
  const text = (magic: string): Buffer => Buffer.concat([Buffer.from(magic), Buffer.alloc(200)]);

  test.each([
    ['ELF core', elf(4, true)],
    ['ELF core', elf(4, false)],
    ['kdump-compressed', text('KDUMP   ')],
    ['flattened kdump-compressed', text('makedumpfile\0\0\0\0')],
    ['Windows', text('PAGEDU64')],
  ])('%s', async (name, bytes) => {
    const path = keep('dump', bytes);
    for (const args of [
      ['inspect', path],
      ['check', path, '--target', 'qemu-10.0,capabilities=x-ignore-shared'],
    ]) {
      const { status, stdout, stderr } = await run(...args);
      expect(stderr).toContain(`a memory dump (${name}): it holds the guest's memory`);
      expect(stderr).toMatch(/the state of no device\. The devices are in what QEMU's migrate, virsh save/);
      expect(status).toBe(3);
      expect(stdout).not.toMatch(/from the source once more/);
    }
  });

  test('a program is none', async () => {
    expect((await run('inspect', keep('program', elf(2, true)))).stderr).toMatch(/an ELF file: a program/);
  });

  test('as a real QEMU writes it', async (context) => {
    const binary = findQemu('x86_64', { root: '' });
    if (binary === undefined) {
      console.warn('SKIPPED: no qemu-system-x86_64 that dumps memory');
      return context.skip();
    }
    const vm = await Qemu.start({
      arch: 'x86_64',
      binary,
      machine: 'pc',
      memoryMiB: 16,
      sharedMemory: false,
    });
    try {
      for (const format of ['elf', 'kdump-zlib']) {
        const path = at(format);
        await vm.qmp.execute('dump-guest-memory', { paging: false, protocol: `file:${path}`, format });
        expect((await run('inspect', path)).stderr).toMatch(
          /a memory dump \((ELF core|flattened kdump-compressed)\)/,
        );
      }
    } finally {
      await vm.close();
    }
  });
});

test('whatever the pieces are in which it comes: the same bytes', async () => {
  const short = stream.subarray(0, 20_000);
  const forms = [short, zlib.gzipSync(short), saveFile(0, short), saveFile(1, zlib.gzipSync(short))];
  const right = [short, short, saveFile(0, short), saveFile(0, short)];
  await fc.assert(
    fc.asyncProperty(
      fc.nat({ max: forms.length - 1 }),
      fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 8 }),
      async (form, sizes) => {
        const bytes = forms[form] ?? short;
        function* pieces(): Generator<Uint8Array> {
          const lent = new Uint8Array(3000);
          for (let from = 0, n = 0; from < bytes.length; n++) {
            const piece = bytes.subarray(from, from + (sizes[n % sizes.length] ?? 1));
            lent.set(piece);
            yield lent.subarray(0, piece.length);
            from += piece.length;
          }
        }
        const got: Buffer[] = [];
        for await (const chunk of unpacked(pieces())) got.push(Buffer.from(chunk));
        expect(Buffer.concat(got).equals(right[form] ?? short)).toBe(true);
      },
    ),
    { numRuns: 60 },
  );
});

describe('pipes', () => {
  const pipe = (): string => {
    spawnSync('mkfifo', [at('pipe')]);
    return at('pipe');
  };
  /** Writes into the pipe. Who reads it may have ended before all is written: that is EPIPE, and no failure of the writer. */
  const writer = (path: string): WriteStream =>
    createWriteStream(path).on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });

  test('are read once, by what reads once', async () => {
    const path = pipe();
    for (const args of [
      ['inspect', path],
      ['verify', path],
      ['steps', path],
      ['check', path, '--target', 'qemu-10.0,capabilities=x-ignore-shared'],
    ]) {
      const running = migrating.virtkit(...args);
      writer(path).end(readFileSync(file));
      expect([await running.ended, running.stderr()]).toEqual([0, '']);
    }
  });

  test('send', async () => {
    const server = createServer({ allowHalfOpen: true });
    await new Promise<void>((resolve) => server.listen(at('door'), resolve));
    const running = migrating.virtkit('send', pipe(), `unix:${at('door')}`);
    writer(at('pipe')).end(readFileSync(file));
    const [socket] = (await once(server, 'connection')) as [Socket];
    server.close();
    const got: Buffer[] = [];
    socket.on('data', (bytes: Buffer) => got.push(bytes));
    await once(socket, 'end');
    socket.end();
    expect([await running.ended, running.stderr()]).toEqual([0, expect.stringContaining('bytes sent')]);
    expect(Buffer.concat(got).equals(stream)).toBe(true);
  });

  test('send: a writer that has nothing to say does not keep it when the other side has gone', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(at('door'), resolve));
    const running = migrating.virtkit('send', pipe(), `unix:${at('door')}`);
    const into = writer(at('pipe'));
    into.write(stream.subarray(0, 1000));
    const [socket] = (await once(server, 'connection')) as [Socket];
    server.close();
    socket.on('data', () => socket.destroy());
    await once(socket, 'close');
    // the next bytes find nobody
    into.write(stream.subarray(1000, 2000));
    expect(await running.ended).toBe(1);
    into.destroy();
  });

  test('a command line comes out of one', async () => {
    const running = migrating.virtkit(
      'check',
      file,
      '--target',
      'qemu-10.0,capabilities=x-ignore-shared',
      '--args',
      pipe(),
    );
    writer(at('pipe')).end('qemu-system-s390x -M s390-ccw-virtio');
    await until('the end', () => running.child.exitCode !== null);
    expect(running.stderr()).toBe('');
  });
});

test('what never ends is read up to a bound, where all of it is kept', async () => {
  for (const args of [
    ['check', file, '--target', 'qemu-10.0,capabilities=x-ignore-shared', '--args', '/dev/zero'],
    ['receive', 'tcp:127.0.0.1:0', '--tls-ca', '/dev/zero'],
  ]) {
    const { status, stderr } = await run(...args);
    expect([status, stderr]).toEqual([2, expect.stringContaining('/dev/zero: is larger than 1048576 bytes')]);
  }
  const { status, stderr } = migrating.shell('yes "qemu: Unknown savevm section" | $V explain -');
  expect(stderr).toMatch(/longer than 16 MiB: the rest was not read/);
  expect(status).toBe(1);
  expect(await run('inspect', '/dev/zero')).toMatchObject({
    status: 3,
    stderr: expect.stringMatching(/not a migration/),
  });
});

test('a socket is no file', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(at('socket'), resolve));
  expect((await run('inspect', at('socket'))).stderr).toMatch(/socket: is a socket, and no file/);
  server.close();
});

test('a read that fails says so', async (context) => {
  // the first page of a process is not there: a real error of the system
  if (process.platform !== 'linux') return context.skip();
  const holder = spawn('sleep', ['60']);
  try {
    const { status, stderr } = await run('inspect', `/proc/${holder.pid}/mem`);
    expect([status, stderr]).toEqual([3, expect.stringMatching(/mem: an input\/output error/)]);
  } finally {
    holder.kill();
  }
});
