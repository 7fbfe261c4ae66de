// What lies where a command writes: nothing is destroyed that the command was not told to replace.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { root } from './command.ts';
import { listening, type Running, until, useMigrating } from './migrating.ts';

const PRECIOUS = 'the disk of a customer';
const stream = gunzipSync(readFileSync(`${root}packages/lab/streams/10.0.13/q100-s390-io.mig.gz`));

const migrating = useMigrating();
const { virtkit } = migrating;
const at = (name: string): string => join(migrating.home(), name);
const file = (name: string, text: string | Uint8Array = PRECIOUS): string => {
  writeFileSync(at(name), text);
  return at(name);
};

/** A socket that nobody listens on any more, as kill -9 leaves it. */
async function leftOver(path: string): Promise<void> {
  const program = `require('node:net').createServer().listen(process.argv[1], () => console.log('up'))`;
  const child = spawn(process.execPath, ['-e', program, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(lstatSync(path).isSocket()).toBe(true);
}

/** Sends the stream there, as a QEMU does, and waits for the end. */
async function migrateTo(path: string, receiving: Running): Promise<void> {
  connect({ path }).end(stream);
  expect(await receiving.ended, receiving.stderr()).toBe(0);
}

describe('a UNIX address', () => {
  const commands: readonly (readonly [string, (where: string) => Running])[] = [
    ['receive', (where) => virtkit('receive', where)],
    ['receive -o', (where) => virtkit('receive', where, '-o', at('out.mig'))],
    ['proxy', (where) => virtkit('proxy', where, 'tcp:127.0.0.1:1')],
  ];

  test.each(commands)('%s: a file that is no socket stays as it is', async (_name, start) => {
    const path = file('disk.img');
    const running = start(`unix:${path}`);
    expect(await running.ended).toBe(3);
    expect(running.stderr()).toMatch(/disk\.img: there is a file of that name that is no socket/);
    expect(readFileSync(path, 'utf8')).toBe(PRECIOUS);
    symlinkSync(path, at('link'));
    expect(await start(`unix:${at('link')}`).ended).toBe(3);
    expect([readFileSync(path, 'utf8'), lstatSync(at('link')).isSymbolicLink()]).toEqual([PRECIOUS, true]);
    expect(readdirSync(migrating.home()).sort()).toEqual(['disk.img', 'link']);
  });

  test.each(commands)(
    '%s: a socket that somebody listens on is neither taken nor touched',
    async (_name, start) => {
      let connections = 0;
      const server = createServer(() => connections++);
      await new Promise<void>((resolve) => server.listen(at('socket'), resolve));
      const running = start(`unix:${at('socket')}`);
      expect(await running.ended).toBe(3);
      expect(running.stderr()).toMatch(/somebody listens there already/);
      expect(lstatSync(at('socket')).isSocket()).toBe(true);
      // another receive would take the question for its source
      if (existsSync('/proc/net/unix')) expect(connections).toBe(0);
      server.close();
    },
  );

  test.each(commands)('%s: the socket of a program that was killed is replaced', async (_name, start) => {
    await leftOver(at('socket'));
    await listening(start(`unix:${at('socket')}`));
  });

  test.each(
    commands.flatMap(([name, start]) =>
      (['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map((signal) => [name, signal, start] as const),
    ),
  )('%s, %s: nothing is left', async (_name, signal, start) => {
    const running = start(`unix:${at('socket')}`);
    await listening(running);
    running.child.kill(signal);
    await running.ended;
    expect(running.child.signalCode).toBe(signal);
    expect(readdirSync(migrating.home())).toEqual([]);
  });

  test('is free again when the migration is over', async () => {
    const running = virtkit('receive', `unix:${at('socket')}`, '-o', at('out.mig'));
    await listening(running);
    await migrateTo(at('socket'), running);
    expect(readdirSync(migrating.home())).toEqual(['out.mig']);
    expect(readFileSync(at('out.mig')).equals(stream)).toBe(true);
  });

  test('what has come to have the name of the socket meanwhile stays at a signal', async () => {
    const killed = virtkit('receive', `unix:${at('socket')}`);
    await listening(killed);
    rmSync(at('socket'));
    file('socket');
    killed.child.kill('SIGTERM');
    await killed.ended;
    expect(readFileSync(at('socket'), 'utf8')).toBe(PRECIOUS);
  });

  test('a second connection is nobody’s, and keeps nobody', async () => {
    const running = virtkit('receive', 'tcp:127.0.0.1:0');
    await listening(running);
    const port = Number(/:(\d+)\n/.exec(running.stderr())?.[1]);
    const sockets = Array.from({ length: 5 }, () => connect(port, '127.0.0.1').on('error', () => {}));
    // a connection that is dropped at once may fail before its other end has seen it
    const settled = (socket: Socket): Promise<void> =>
      new Promise((resolve) => socket.once('connect', resolve).once('close', () => resolve()));
    await Promise.all(sockets.map(settled));
    for (const socket of sockets) socket.write(stream);
    // whichever it was: it has all, and the others are open
    expect(await running.ended, running.stderr()).toBe(0);
    for (const socket of sockets) socket.destroy();
  });
});

describe('files that hold guest memory', () => {
  const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8);
  const converted = async (name: string): Promise<number | null> =>
    virtkit('convert', file('in.mig', stream), at(name), '--to', 'qemu-10.0,capabilities=x-ignore-shared')
      .ended;

  test.each([undefined, 0o600, 0o640, 0o644])('a file that had mode %s', async (before) => {
    const socket = at('socket');
    if (before !== undefined) {
      for (const name of ['converted', 'received']) chmodSync(file(name), before);
    }
    expect(await converted('converted')).toBe(0);
    const running = virtkit('receive', `unix:${socket}`, '-o', at('received'));
    await listening(running);
    const [part] = readdirSync(migrating.home()).filter((name) => name.startsWith('received.part-'));
    expect(mode(at(part ?? '')), 'while it is written').toBe((before ?? 0o600).toString(8));
    await migrateTo(socket, running);
    expect([mode(at('converted')), mode(at('received'))]).toEqual(
      Array(2).fill((before ?? 0o600).toString(8)),
    );
  });

  test.skipIf(process.getuid?.() !== 0)('the owner stays', async () => {
    chownSync(file('converted'), 12345, 54321);
    chmodSync(at('converted'), 0o640);
    expect(await converted('converted')).toBe(0);
    expect(statSync(at('converted'))).toMatchObject({ uid: 12345, gid: 54321 });
    expect(mode(at('converted'))).toBe('640');
  });
});

describe('one file under two names', () => {
  const refused = async (running: Running, names: RegExp): Promise<void> => {
    await until('the end', () => running.child.exitCode !== null);
    expect(running.stderr()).toMatch(names);
    expect(await running.ended).toBe(2);
  };

  test('convert: the output is no other file', async () => {
    const input = file('in.mig', stream);
    linkSync(input, at('hard'));
    symlinkSync(input, at('soft'));
    for (const name of ['in.mig', 'hard', 'soft', `../${migrating.home().split('/').at(-1)}/in.mig`])
      await refused(
        virtkit('convert', input, at(name), '--to', 'qemu-10.0,capabilities=x-ignore-shared'),
        /the input and the output/,
      );
    expect(readFileSync(input).equals(stream)).toBe(true);
    const args = file('args', 'qemu-system-s390x -M s390-ccw-virtio');
    await refused(
      virtkit('convert', input, args, '--to', 'qemu-10.0,capabilities=x-ignore-shared', '--args', args),
      /the command line and the output/,
    );
    expect(readFileSync(args, 'utf8')).toMatch(/^qemu/);
    // the snapshot's image is more than the snapshot
    const image = file('disk.qcow2', Buffer.from('514649fb00000003', 'hex'));
    await refused(
      virtkit('convert', `${image}#name`, image, '--to', 'qemu-10.0,capabilities=x-ignore-shared'),
      /the input and the output/,
    );
  });

  test('receive: the output is neither a key nor the socket', async () => {
    const key = file('key.pem');
    await refused(
      virtkit('receive', 'tcp:127.0.0.1:0', '-o', key, '--tls-key', key),
      /a PEM file and the output/,
    );
    expect(readFileSync(key, 'utf8')).toBe(PRECIOUS);
    await refused(virtkit('receive', `unix:${at('new')}`, '-o', at('new')), /the socket and the output/);
  });
});
