// Disks on real NBD servers: what they can do, their faults, and their deaths.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BlkBackend } from '@virtkit/device-blk';
import { type NbdDisk, type NbdDiskOptions, type NbdEvent, nbdDisk } from '@virtkit/device-blk/nbd';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ArraySpans } from '../src/disk/array-spans.ts';
import { pattern } from './machine.ts';
import { missing, NbdServer, nbdkit, qemuNbd, SERVERS } from './nbd-servers.ts';

const SIZE = 4 << 20;
const KILLS = process.env['VIRTKIT_SLOW'] === undefined ? 4 : 20;

let dir = '';
let image = '';
const servers: NbdServer[] = [];
const disks: NbdDisk[] = [];
beforeEach(() => {
  dir = fs.mkdtempSync(join(tmpdir(), 'virtkit-nbd-'));
  image = join(dir, 'disk.img');
  fs.writeFileSync(image, pattern(SIZE, 3));
});
afterEach(async () => {
  for (const disk of disks.splice(0)) await disk.close();
  for (const server of servers.splice(0)) await server.kill();
  fs.rmSync(dir, { recursive: true });
});

async function started(made: ReturnType<typeof nbdkit>): Promise<NbdServer> {
  const server = new NbdServer(made);
  servers.push(server);
  await server.start();
  return server;
}

async function opened(uri: string, options: NbdDiskOptions = {}): Promise<NbdDisk> {
  const disk = await nbdDisk(uri, options);
  disks.push(disk);
  return disk;
}

async function read(disk: BlkBackend, position: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length).fill(0xaa);
  await disk.read(position, new ArraySpans(bytes), 0, length);
  return bytes;
}

async function write(disk: BlkBackend, position: number, bytes: Uint8Array): Promise<void> {
  await disk.write(position, new ArraySpans(bytes), 0, bytes.length);
}

const reasonOf = (...programs: string[]): string | undefined => {
  const reason = programs.map(missing).find((text) => text !== undefined);
  if (reason !== undefined) console.warn(`SKIPPED: disks on NBD servers: ${reason}`);
  return reason;
};
const NBDKIT = reasonOf('nbdkit');

const EXPORTS: Readonly<Record<string, string>> = { 'qemu-storage-daemon': 'disk0', 'nbd-server': 'disk0' };

describe('what a server holds is read and written', () => {
  for (const [name, make] of Object.entries(SERVERS)) {
    test.skipIf(reasonOf(name.split(',')[0] ?? '') !== undefined)(name, async () => {
      const server = await started(make(dir, image));
      const disk = await opened(server.uri(EXPORTS[name]), { discard: 'unmap' });
      expect(disk.size).toBe(SIZE);
      expect(disk.connection.replies).toBe(/simple|nbd-server/.test(name) ? 'simple' : 'structured');
      const right = pattern(SIZE, 3);
      expect(Buffer.from(disk.firstSector ?? []).equals(right.subarray(0, 512))).toBe(true);
      // not where the server's blocks begin
      const bytes = pattern(7 * 512, 9);
      await Promise.all([
        write(disk, 512, bytes),
        write(disk, 1 << 20, bytes),
        write(disk, SIZE - bytes.length, bytes),
      ]);
      for (const at of [512, 1 << 20, SIZE - bytes.length]) right.set(bytes, at);
      await disk.writeZeroes?.(3 * 512, 64 * 1024, false);
      right.fill(0, 3 * 512, 3 * 512 + 64 * 1024);
      await disk.writeZeroes?.(200 * 512, 512, true);
      right.fill(0, 200 * 512, 201 * 512);
      await disk.prefetch(0, 1 << 20);
      await disk.flush?.();
      expect(Buffer.from(await read(disk, 0, SIZE)).equals(right)).toBe(true);
      // a discard leaves of these bytes what the server likes, and the others alone
      await disk.discard?.(1 << 21, 1 << 20);
      const after = Buffer.from(await read(disk, 0, SIZE));
      expect(after.subarray(0, 1 << 21).equals(right.subarray(0, 1 << 21))).toBe(true);
      expect(after.subarray(3 << 20).equals(right.subarray(3 << 20))).toBe(true);
      await disk.close();
      await expect(read(disk, 0, 512)).rejects.toMatchObject({ code: 'EBADF' });
      expect(
        fs
          .readFileSync(image)
          .subarray(0, 1 << 21)
          .equals(right.subarray(0, 1 << 21)),
      ).toBe(true);
    });
  }
});

describe('TLS', () => {
  const reason = reasonOf('qemu-nbd', 'certtool', 'psktool');

  /** A certificate authority, a server and a client, as `certtool` makes them. */
  function certificates(): string {
    const keys = join(dir, 'keys');
    fs.mkdirSync(keys);
    const tool = (...args: string[]): void => {
      const { status, stderr } = spawnSync('certtool', args, { cwd: keys, encoding: 'utf8' });
      if (status !== 0) throw new Error(stderr);
    };
    for (const [who, words] of [
      ['ca', 'cn = "virtkit tests"\nca\ncert_signing_key\n'],
      ['server', 'cn = "localhost"\ndns_name = "localhost"\ntls_www_server\nsigning_key\nencryption_key\n'],
      ['client', 'cn = "client"\ntls_www_client\nsigning_key\nencryption_key\n'],
    ] as const) {
      fs.writeFileSync(join(keys, `${who}.info`), `${words}expiration_days = 30\n`);
      tool('--generate-privkey', '--key-type', 'ecdsa', '--outfile', `${who}-key.pem`);
      const [template, key] = [
        ['--template', `${who}.info`],
        ['--load-privkey', `${who}-key.pem`],
      ];
      const by = ['--load-ca-certificate', 'ca-cert.pem', '--load-ca-privkey', 'ca-key.pem'];
      if (who === 'ca') tool('--generate-self-signed', ...template, ...key, '--outfile', 'ca-cert.pem');
      else tool('--generate-certificate', ...template, ...key, ...by, '--outfile', `${who}-cert.pem`);
    }
    return keys;
  }

  test.skipIf(reason !== undefined)('with certificates of both sides', { timeout: 120_000 }, async () => {
    const keys = certificates();
    const { socket, command } = qemuNbd(dir, image);
    const tls = [
      '--object',
      `tls-creds-x509,id=t0,dir=${keys},endpoint=server,verify-peer=yes`,
      '--tls-creds',
      't0',
    ];
    const server = await started({ socket, command: [...command, ...tls] });
    const disk = await opened(server.uri('', `&tls-certificates=${keys}`).replace('nbd+', 'nbds+'));
    expect(Buffer.from(await read(disk, 0, SIZE)).equals(pattern(SIZE, 3))).toBe(true);
    // without TLS it says so, and with a name that is not in the certificate the client does
    await expect(nbdDisk(server.uri())).rejects.toThrow(/the server wants TLS/);
    const other = server
      .uri('', `&tls-certificates=${keys}&tls-hostname=example.org`)
      .replace('nbd+', 'nbds+');
    await expect(nbdDisk(other)).rejects.toThrow(/altnames/);
  });

  test.skipIf(reason !== undefined)('with a key that both know', async () => {
    const keys = join(dir, 'keys.psk');
    spawnSync('psktool', ['-u', 'alice', '-p', keys]);
    const { socket, command } = qemuNbd(dir, image);
    const tls = ['--object', `tls-creds-psk,id=t0,dir=${dir},endpoint=server`, '--tls-creds', 't0'];
    const server = await started({ socket, command: [...command, ...tls] });
    const uri = (file: string): string => `nbds+unix://alice@/?socket=${socket}&tls-psk-file=${file}`;
    const disk = await opened(uri(keys));
    await write(disk, 0, pattern(4096, 5));
    expect(Buffer.from(await read(disk, 0, 4096)).equals(pattern(4096, 5))).toBe(true);
    const wrong = join(dir, 'wrong.psk');
    fs.writeFileSync(wrong, `alice:${'11'.repeat(32)}\n`);
    await expect(nbdDisk(uri(wrong), { timeoutMs: 20_000 })).rejects.toThrow();
    await expect(
      read(
        await opened(
          `${server.uri().replace('nbd+', 'nbds+').replace('///', '//alice@/')}&tls-psk-file=${keys}`,
        ),
        0,
        512,
      ),
    ).resolves.toBeDefined();
  });
});

describe.skipIf(NBDKIT !== undefined)('a server with faults', () => {
  test('its errors are those of the request, and the disk goes on', async () => {
    const faulty = join(dir, 'faulty');
    const server = await started(
      nbdkit(
        dir,
        ['--filter=error'],
        ['file', image, 'error-pwrite=ENOSPC', 'error-pwrite-rate=100%', `error-pwrite-file=${faulty}`],
      ),
    );
    const disk = await opened(server.uri());
    fs.writeFileSync(faulty, '');
    await expect(write(disk, 0, pattern(512, 1))).rejects.toMatchObject({ code: 'ENOSPC' });
    fs.rmSync(faulty);
    await write(disk, 0, pattern(512, 1));
    expect(Buffer.from(await read(disk, 0, 512)).equals(pattern(512, 1))).toBe(true);
  });

  test('what it takes long for comes when it comes, in whatever order', async () => {
    const server = await started(nbdkit(dir, ['--filter=delay'], ['file', image, 'rdelay=100ms']));
    const disk = await opened(server.uri());
    const began = disk.connection.count;
    const [a, b] = await Promise.all([
      read(disk, 0, 512),
      write(disk, 4096, pattern(512, 2)).then(() => 'written'),
    ]);
    expect([Buffer.from(a).equals(pattern(SIZE, 3).subarray(0, 512)), b]).toEqual([true, 'written']);
    expect(began).toBeGreaterThan(0);
  });

  test('one that stands still costs the time that was agreed on, and is used again when it goes on', async () => {
    const server = await started(nbdkit(dir, [], ['file', image]));
    const events: NbdEvent[] = [];
    const disk = await opened(server.uri(), {
      timeoutMs: 700,
      connections: 1,
      onEvent: (event) => events.push(event),
    });
    await server.freeze();
    await expect(read(disk, 0, 512)).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      message: expect.stringContaining('read of 512 bytes at 0'),
    });
    server.thaw();
    // it may need more than one of the short times
    for (;;) {
      const bytes = await read(disk, 512, 512).catch(() => undefined);
      if (bytes === undefined) continue;
      expect(Buffer.from(bytes).equals(pattern(SIZE, 3).subarray(512, 1024))).toBe(true);
      break;
    }
    expect(events.map(({ type }) => type)).toContain('connected');
  });
});

/** Writes at random, 8 at a time, and flushes now and then; what is told to be written is remembered. */
async function load(disk: BlkBackend, right: Uint8Array, until: () => boolean): Promise<number> {
  let [turn, count] = [1, 0];
  const worker = async (place: number): Promise<void> => {
    // each has its own part of the disk, so that the order is known
    for (; !until(); count++) {
      turn = (Math.imul(turn, 1664525) + 1013904223) >>> 0;
      const at = place * (SIZE / 8) + (turn % (SIZE / 8 / 512 - 16)) * 512;
      const bytes = pattern(512 * (1 + (turn % 16)), turn & 0xff);
      await write(disk, at, bytes);
      right.set(bytes, at);
      if (turn % 50 === 0) await disk.flush?.();
    }
  };
  await Promise.all(Array.from({ length: 8 }, (_, place) => worker(place)));
  return count;
}

describe('a server that is killed under load, and started again', () => {
  const run = async (made: ReturnType<typeof nbdkit>, options: NbdDiskOptions): Promise<void> => {
    const server = await started(made);
    const events: NbdEvent[] = [];
    const disk = await opened(server.uri(), { ...options, onEvent: (event) => events.push(event) });
    const right = pattern(SIZE, 3);
    let done = false;
    const loading = load(disk, right, () => done);
    const connections = (): number => events.filter(({ type }) => type === 'connected').length;
    for (let n = 1; n <= KILLS; n++) {
      // some writes were answered since it came back
      await read(disk, 0, 512);
      await new Promise((resolve) => setTimeout(resolve, 20 * n));
      await server.kill();
      await server.start();
      while (connections() < n) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    done = true;
    expect(await loading).toBeGreaterThan(KILLS);
    expect(Buffer.from(await read(disk, 0, SIZE)).equals(right)).toBe(true);
    await disk.flush?.();
    await disk.close();
    await server.kill();
    expect(fs.readFileSync(image).equals(right)).toBe(true);
    expect(events.filter(({ type }) => type === 'lost').length).toBeGreaterThanOrEqual(KILLS);
  };

  test.skipIf(reasonOf('qemu-nbd') !== undefined)(
    'qemu-nbd: nothing is lost',
    { timeout: 120_000 },
    async () => {
      await run(qemuNbd(dir, image), {});
    },
  );

  test.skipIf(NBDKIT !== undefined)(
    'nbdkit, whose cache dies with it: nothing is lost',
    { timeout: 120_000 },
    async () => {
      await run(nbdkit(dir, ['--filter=cache'], ['file', image, 'cache=writeback']), {
        keepBytes: 256 << 10,
      });
    },
  );

  test.skipIf(NBDKIT !== undefined)('that test would notice: without kept writes some are lost', async () => {
    const server = await started(nbdkit(dir, ['--filter=cache'], ['file', image, 'cache=writeback']));
    const disk = await opened(server.uri(), { keepBytes: 0 });
    await write(disk, 0, pattern(512, 77));
    await server.kill();
    await server.start();
    expect(Buffer.from(await read(disk, 0, 512)).equals(pattern(512, 77))).toBe(false);
  });

  test.skipIf(reasonOf('qemu-nbd') !== undefined)('with a larger image: the disk says so', async () => {
    const server = await started(qemuNbd(dir, image));
    const events: NbdEvent[] = [];
    const disk = await opened(server.uri(), { onEvent: (event) => events.push(event) });
    await server.kill();
    fs.truncateSync(image, 2 * SIZE);
    await server.start();
    await expect(disk.refreshSize()).resolves.toBe(2 * SIZE);
    await write(disk, SIZE, pattern(512, 1));
    expect(disk.size).toBe(2 * SIZE);
    expect(events).toContainEqual({ type: 'resized', size: 2 * SIZE });
  });
});
