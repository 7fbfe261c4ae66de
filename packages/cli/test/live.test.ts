import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { delay } from '@virtkit/lab';
import { acceptVirtio, parseStream, StreamParser } from '@virtkit/migration';
import { StreamRewriter } from '@virtkit/migration/rewrite';
import { describe, expect, test } from 'vitest';
import { registry } from '../src/registry.ts';
import { binary, ended, listening, migrate, runs, useMigrating } from './migrating.ts';

const TIMEOUT_MS = 60_000;

const migrating = useMigrating();
const { guest, virtkit } = migrating;

async function saved(): Promise<Uint8Array> {
  const vm = await guest();
  const stream = await vm.migrate({ capabilities: [] });
  await vm.close();
  return stream;
}

describe.skipIf(binary === undefined)(
  'both ends of a live migration, with a real QEMU',
  { timeout: TIMEOUT_MS },
  () => {
    test('receive takes a migration with a return path to its end, and send feeds it to another QEMU', async () => {
      const [socket, file] = [join(migrating.home(), 'receive'), join(migrating.home(), 'guest.mig')];
      const receiving = virtkit('receive', `unix:${socket}`, '-o', file);
      await listening(receiving);
      const source = await guest();
      await migrate(source, socket, { capabilities: ['return-path'] });
      expect(await receiving.ended, receiving.stderr()).toBe(0);
      expect(await ended(source)).toBe('completed');
      expect(parseStream(readFileSync(file)).complete).toBe(true);
      const destination = await guest({ incoming: true });
      const door = join(migrating.home(), 'incoming');
      await destination.qmp.execute('migrate-incoming', { uri: `unix:${door}` });
      const sending = virtkit('send', file, `unix:${door}`);
      expect(await sending.ended, sending.stderr()).toBe(0);
      expect(await ended(destination)).toBe('completed');
      expect(await runs(destination)).toBe(true);
    });

    test('proxy passes a migration on', async () => {
      const [from, to] = [join(migrating.home(), 'from'), join(migrating.home(), 'to')];
      const destination = await guest({ incoming: true });
      await destination.qmp.execute('migrate-incoming', { uri: `unix:${to}` });
      const between = virtkit('proxy', `unix:${from}`, `unix:${to}`);
      await listening(between);
      const source = await guest();
      await migrate(source, from, { capabilities: ['return-path'] });
      expect(await between.ended, between.stderr()).toBe(0);
      expect(between.stderr()).toContain('checked: virtio-blk@0000:00:02.0, virtio-net@0000:00:03.0');
      expect([await ended(source), await ended(destination)]).toEqual(['completed', 'completed']);
      expect([await runs(source), await runs(destination)]).toEqual([false, true]);
    });

    test('proxy refuses broken device state before the destination loads any', async () => {
      const [from, to] = [join(migrating.home(), 'from'), join(migrating.home(), 'to')];
      const destination = await guest({ incoming: true });
      await destination.qmp.execute('migrate-incoming', { uri: `unix:${to}` });
      const between = virtkit('proxy', `unix:${from}`, `unix:${to}`);
      await listening(between);
      // what a source with a broken device would send
      writeFileSync(join(migrating.home(), 'broken.mig'), brokenQueues(await saved()));
      const sending = virtkit('send', join(migrating.home(), 'broken.mig'), `unix:${from}`);
      expect(await between.ended, between.stderr()).toBe(1);
      expect(between.stderr()).toMatch(/refused: .*virtio-blk/);
      await sending.ended;
      expect(await ended(destination).catch(() => 'gone')).not.toBe('completed');
      expect(destination.stderr).not.toMatch(/error while loading state for instance/);
    });

    test('a source with a return path goes on after a refusal', async () => {
      const [from, to, tampered] = [
        join(migrating.home(), 'from'),
        join(migrating.home(), 'to'),
        join(migrating.home(), 'tampered'),
      ];
      const destination = await guest({ incoming: true });
      await destination.qmp.execute('migrate-incoming', { uri: `unix:${to}` });
      const between = virtkit('proxy', `unix:${from}`, `unix:${to}`);
      await listening(between);
      const relay = createServer((source) => tamper(source, from)).listen(tampered);
      const source = await guest();
      await migrate(source, tampered, { capabilities: ['return-path'] });
      expect(await between.ended, between.stderr()).toBe(1);
      expect(between.stderr()).toContain('The source goes on running.');
      expect(await ended(source)).toBe('failed');
      expect(await runs(source)).toBe(true);
      expect(destination.stderr).not.toMatch(/error while loading state for instance/);
      relay.close();
    });

    test.each([0, 3, 1000, 400_000])(
      'receive says so when the connection breaks after %i bytes',
      async (at) => {
        const [socket, file, stream] = [
          join(migrating.home(), 'receive'),
          join(migrating.home(), 'guest.mig'),
          await saved(),
        ];
        const receiving = virtkit('receive', `unix:${socket}`, '-o', file);
        await listening(receiving);
        const connection = connect(socket);
        connection.on('error', () => {});
        connection.write(stream.subarray(0, at));
        await delay(50);
        connection.end();
        expect(await receiving.ended).toBe(3);
        expect(receiving.stderr()).toContain('was not written');
        expect(readdirSync(migrating.home()).filter((name) => name.startsWith('guest'))).toEqual([]);
      },
    );

    test('send says so when the other side closes in the middle', async () => {
      const socket = join(migrating.home(), 'door');
      const file = join(migrating.home(), 'guest.mig');
      writeFileSync(file, await saved());
      const server = createServer((connection) => {
        connection.once('data', () => connection.destroy());
        connection.on('error', () => {});
      }).listen(socket);
      const sending = virtkit('send', file, `unix:${socket}`);
      expect(await sending.ended).toBe(1);
      expect(sending.stderr()).toContain('closed the connection');
      server.close();
    });

    test.each(['receive', 'proxy'] as const)(
      'kill -9 of %s at several moments: the source runs on',
      async (which) => {
        const source = await guest();
        for (const moment of [0, 10, 40, 120]) {
          const [from, to, file] = [
            join(migrating.home(), `from${moment}`),
            join(migrating.home(), `to${moment}`),
            join(migrating.home(), `guest${moment}`),
          ];
          if (which === 'proxy')
            await (await guest({ incoming: true })).qmp.execute('migrate-incoming', { uri: `unix:${to}` });
          const running =
            which === 'proxy'
              ? virtkit('proxy', `unix:${from}`, `unix:${to}`)
              : virtkit('receive', `unix:${from}`, '-o', file);
          await listening(running);
          // slow enough for the moments to lie inside
          await migrate(source, from, { bandwidth: 1 << 20, capabilities: ['return-path'] });
          await delay(moment);
          running.child.kill('SIGKILL');
          await running.ended;
          expect(await ended(source)).toBe('failed');
          expect(await runs(source)).toBe(true);
          expect(existsSync(file)).toBe(false);
        }
      },
    );

    test('postcopy is refused when it is announced, and the source runs on', async () => {
      const socket = join(migrating.home(), 'receive');
      const receiving = virtkit('receive', `unix:${socket}`, '-o', join(migrating.home(), 'guest.mig'));
      await listening(receiving);
      const source = await guest();
      await migrate(source, socket, { bandwidth: 1 << 20, capabilities: ['postcopy-ram'] });
      expect(await receiving.ended).toBe(3);
      expect(receiving.stderr()).toContain('postcopy');
      expect(await ended(source)).toBe('failed');
      expect(await runs(source)).toBe(true);
    });

    test('TLS with certificates of an own authority', async () => {
      certificates(migrating.home());
      const file = join(migrating.home(), 'guest.mig');
      writeFileSync(join(migrating.home(), 'plain.mig'), await saved());
      const tls = (name: string): string[] => [
        '--tls-ca',
        join(migrating.home(), 'ca.pem'),
        '--tls-cert',
        join(migrating.home(), `${name}.pem`),
        '--tls-key',
        join(migrating.home(), `${name}.key`),
      ];
      const receiving = virtkit('receive', 'tcp:127.0.0.1:0', '-o', file, ...tls('server'));
      await listening(receiving);
      const port = /:(\d+)\s*$/m.exec(receiving.stderr())?.[1] ?? '';
      const sending = virtkit(
        'send',
        join(migrating.home(), 'plain.mig'),
        `tcp:127.0.0.1:${port}`,
        ...tls('client'),
        '--tls-hostname',
        'localhost',
      );
      expect([await sending.ended, await receiving.ended], sending.stderr() + receiving.stderr()).toEqual([
        0, 0,
      ]);
      expect(readFileSync(file).equals(readFileSync(join(migrating.home(), 'plain.mig')))).toBe(true);
    });
  },
);

/** The stream with a ring of the disk that has more entries than there are. */
function brokenQueues(stream: Uint8Array): Uint8Array {
  const chunks: Uint8Array[] = [];
  const rewriter = new StreamRewriter((bytes, begin, end) => chunks.push(bytes.slice(begin, end)), {
    body: ({ idstr }, body) =>
      idstr.endsWith('virtio-blk') ? body.map((byte, at) => (at > 300 && at < 360 ? 0xff : byte)) : undefined,
  });
  const parser = new StreamParser(rewriter, { accepts: acceptVirtio(registry) });
  parser.push(stream);
  parser.end();
  return Buffer.concat(chunks);
}

/** Passes on both ways, and breaks the disk's section on its way. */
function tamper(source: Socket, to: string): void {
  const proxy = connect(to);
  const name = '0000:00:02.0/virtio-blk';
  let held: Buffer = Buffer.alloc(0);
  let timer: NodeJS.Timeout | undefined;
  const flush = (): void => {
    proxy.write(held);
    held = Buffer.alloc(0);
  };
  source.on('data', (chunk: Buffer) => {
    held = Buffer.concat([held, chunk]);
    const at = held.indexOf(name);
    if (at >= 0 && held.length > at + 400) held.fill(0xff, at + name.length + 308, at + name.length + 368);
    // the name may lie across two chunks
    clearTimeout(timer);
    timer = setTimeout(flush, 20);
  });
  proxy.on('data', (chunk: Buffer) => source.write(chunk));
  for (const [one, other] of [
    [source, proxy],
    [proxy, source],
  ] as const)
    one.on('close', () => other.destroy()).on('error', () => other.destroy());
}

function certificates(dir: string): void {
  const openssl = (...args: readonly string[]): void => {
    execFileSync('openssl', args, { cwd: dir, stdio: 'ignore' });
  };
  openssl(
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '2',
    '-subj',
    '/CN=virtkit test',
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
  );
  for (const name of ['server', 'client']) {
    openssl(
      'req',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-subj',
      `/CN=${name}`,
      '-addext',
      'subjectAltName=DNS:localhost,IP:127.0.0.1',
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.csr`,
    );
    openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      '-CA',
      'ca.pem',
      '-CAkey',
      'ca.key',
      '-days',
      '2',
      '-copy_extensions',
      'copy',
      '-out',
      `${name}.pem`,
    );
  }
}
