/** Streams that two readers could take for different ones, and what they may cost whoever looks at them. */
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { acceptVirtio, parseStream } from '@virtkit/migration';
import { describe, expect, test } from 'vitest';
import { checkDevices } from '../src/device.ts';
import { judge, proxy } from '../src/live/proxy.ts';
import { receive } from '../src/live/receive.ts';
import { registry } from '../src/registry.ts';
import { useCommand } from './command.ts';

const command = useCommand();
const corpus = new URL('../../lab/streams/', import.meta.url);
const small = gunzipSync(readFileSync(new URL('7.2.22/q72-pc-fullram-tiny.mig.gz', corpus)));
const plain = parseStream(small, { accepts: acceptVirtio(registry) });
const be32 = (value: number): Uint8Array => Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
const TINY = '{"page_size":4096,"devices":[]}';

/** A footer, the end and a small vmdesc. */
const end = (id: number): Buffer =>
  Buffer.concat([Uint8Array.of(0x7e), be32(id), Uint8Array.of(0, 6), be32(TINY.length), Buffer.from(TINY)]);

/** The stream with an end in its processor, which stands in front of the disk; and the offset behind it. */
function withEnd(): { readonly bytes: Buffer; readonly behind: number } {
  const cpu = plain.sections.find(({ header }) => header.idstr === 'cpu');
  if (cpu === undefined) throw new Error('no processor');
  const bytes = Buffer.from(small);
  const fake = end(cpu.header.id);
  bytes.set(fake, cpu.offset + 100);
  return { bytes, behind: cpu.offset + 100 + fake.length };
}

/** A disk with more queues than there can be. */
function withBadDisk(bytes: Uint8Array): Buffer {
  const disk = plain.sections.find(({ header }) => header.idstr.endsWith('virtio-blk'));
  if (disk === undefined) throw new Error('no disk');
  for (let at = disk.offset + 4; at < disk.offset + 200; at += 4) {
    const bad = Buffer.from(bytes);
    bad.fill(0xff, at, at + 4);
    const stream = parseStream(bad, { accepts: acceptVirtio(registry) });
    if (judge(false)(checkDevices(stream)) !== undefined) return bad;
  }
  throw new Error('no byte of the disk that matters');
}

/** Both ends of a connection. */
async function pair(): Promise<readonly [Socket, Socket]> {
  const ends = await new Promise<readonly [Socket, Socket]>((resolve) => {
    const server = createServer((here) => {
      server.close();
      resolve([there, here]);
    });
    let there: Socket;
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      if (address === null || typeof address === 'string') throw new Error('no port');
      there = connect(address.port, '127.0.0.1');
    });
  });
  for (const each of ends) each.on('error', () => {});
  return ends;
}

/** Sends pieces, each when the one before has arrived. */
async function say(socket: Socket, pieces: readonly Uint8Array[], arrived: () => number): Promise<void> {
  let sent = 0;
  for (const piece of pieces) {
    socket.write(piece);
    sent += piece.length;
    while (arrived() < sent && !socket.destroyed) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  socket.end();
}

describe('an end that a guest has written into its processor', () => {
  const { bytes, behind } = withEnd();

  test.each([
    ['in one piece', [bytes]],
    ['cut behind it', [bytes.subarray(0, behind), bytes.subarray(behind)]],
  ])('ends nothing that is received, %s', async (_what, pieces) => {
    const [source, here] = await pair();
    source.resume();
    const speaking = say(source, pieces, () => here.bytesRead);
    const received = await receive(here, undefined);
    await speaking;
    expect(received.error).toBeUndefined();
    expect(received.bytes).toBe(bytes.length);
    expect(received.stream.sections).toHaveLength(plain.sections.length);
  });

  test.each([
    ['in one piece', behind - 3],
    ['cut behind it', behind],
  ])('hands nothing on that was not judged, %s', async (_what, cut) => {
    const bad = withBadDisk(bytes);
    const [source, near] = await pair();
    const [far, destination] = await pair();
    let handedOn = 0;
    destination.on('data', (chunk) => {
      handedOn += chunk.length;
    });
    source.resume();
    const speaking = say(source, [bad.subarray(0, cut), bad.subarray(cut)], () => near.bytesRead);
    const proxied = await proxy(near, far, judge(false));
    await speaking;
    expect(proxied.refused).toMatch(/virtio-blk@0000:00:02.0/);
    expect(handedOn).toBeLessThan(plain.sections[0]?.header.offset ?? 0);
    destination.destroy();
  });

  test('hides nothing from verify, check and inspect', () => {
    const file = join(command.home(), 'guest.mig');
    writeFileSync(file, bytes);
    expect(command.virtkit(['verify', file]).status).toBe(0);
    writeFileSync(file, withBadDisk(bytes));
    expect(command.virtkit(['verify', file])).toMatchObject({ status: 1 });
    expect(
      command.virtkit(['check', file, '--target', 'qemu-7.2,capabilities=x-ignore-shared']),
    ).toMatchObject({ status: 1 });
    expect(command.virtkit(['inspect', file])).toMatchObject({ status: 3 });
  });
});

describe('a vmdesc that says something else than the bytes', () => {
  const denied = Buffer.from(
    small.toString('latin1').replaceAll('"type": "virtio"', '"type": "buffer"'),
    'latin1',
  );

  test('is a finding of verify and inspect, and no reason for a QEMU', () => {
    const file = join(command.home(), 'denied.mig');
    writeFileSync(file, denied);
    const verified = command.virtkit(['verify', file]);
    expect(verified.stdout).toMatch(/the bytes are a virtio device, and the vmdesc does not say so/);
    expect(verified.status).toBe(1);
    const { findings } = JSON.parse(command.virtkit(['verify', file, '--json']).stdout);
    expect(findings).toMatchObject([{ code: 'vmdesc-type' }, { code: 'vmdesc-type' }]);
    const inspected = JSON.parse(command.virtkit(['inspect', file, '--json']).stdout);
    expect(inspected.findings).toEqual(findings);
    expect(inspected.devices).toHaveLength(2);
    expect(
      command.virtkit(['check', file, '--target', 'qemu-7.2,capabilities=x-ignore-shared']),
    ).toMatchObject({ status: 0 });
  });

  test('is not handed on', async () => {
    const [source, near] = await pair();
    const [far, destination] = await pair();
    destination.resume();
    source.resume();
    source.end(denied);
    const { refused } = await proxy(near, far, judge(false));
    expect(refused).toMatch(/the stream is not clear: .*vmdesc/);
    destination.destroy();
  });
});

describe('8 MiB of anything are looked at in a small heap, and something is said', () => {
  const SIZE = 8 << 20;
  const ram = small.subarray(0, plain.sections[0]?.header.offset);
  const open = Buffer.concat([
    ram,
    Uint8Array.of(4),
    be32(200),
    Uint8Array.of(6),
    Buffer.from('screen'),
    be32(0),
    be32(1),
  ]);
  const begin = small.subarray(0, 8 + 1 + 4 + small.readUInt32BE(9));
  const repeated = (bytes: Uint8Array): Buffer => Buffer.alloc(SIZE - (SIZE % bytes.length), bytes);
  const described = (item: string): Buffer => {
    const text = Buffer.from(
      `{"devices":[{"fields":[${item.repeat(SIZE / item.length - 20).slice(0, -1)}]}]}`,
    );
    return Buffer.concat([ram, Uint8Array.of(0, 6), be32(text.length), text]);
  };
  const cases: readonly (readonly [string, () => Buffer])[] = [
    ['{},', () => described('{},')],
    ['fields', () => described('{"name":"a","type":"uint8","size":1},')],
    ['}', () => Buffer.concat([open, Buffer.alloc(SIZE, '}')])],
    ['empty commands', () => Buffer.concat([begin, repeated(Uint8Array.of(8, 0, 1, 0, 0))])],
    ['commands behind RAM', () => Buffer.concat([ram, repeated(Uint8Array.of(8, 0, 1, 0, 0))])],
    ['footers', () => Buffer.concat([open, repeated(Uint8Array.of(0x7e, 0, 0, 0, 200))])],
    ['ends', () => Buffer.concat([open, repeated(end(200))])],
    ['pings', () => Buffer.concat([begin, repeated(Buffer.concat([Uint8Array.of(8, 0, 2, 0, 4), be32(7)]))])],
    ['zeros', () => Buffer.concat([open, Buffer.alloc(SIZE)])],
    [
      'empty sections',
      () => Buffer.concat([ram, repeated(Buffer.from('0400000009017800000000000000017e00000009', 'hex'))]),
    ],
  ];

  test.each(cases)('%s', { timeout: 180_000 }, (_what, made) => {
    const file = join(command.home(), 'much.mig');
    writeFileSync(file, made());
    for (const args of [
      ['verify', file],
      ['check', file, '--target', 'qemu-7.2,capabilities=x-ignore-shared'],
      ['inspect', file],
    ]) {
      const { status, signal, stderr, stdout } = command.virtkit(args, {
        env: { NODE_OPTIONS: '--max-old-space-size=96' },
      });
      expect({ signal, said: stderr.length + stdout.length > 20, trace: stderr.includes('    at ') }).toEqual(
        {
          signal: null,
          said: true,
          trace: false,
        },
      );
      // QEMU ignores what a vmdesc says, but verify does not
      expect(args[0] === 'verify' ? [1, 3] : [0, 1, 3, 4]).toContain(status);
    }
  });
});
