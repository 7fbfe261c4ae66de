/** The command where things go wrong: exit codes, messages, and nothing that is not for the reader. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { StreamWriter } from '@virtkit/migration';
import { Writer } from '@virtkit/vmstate';
import { describe, expect, test } from 'vitest';
import { root, useCommand } from './command.ts';

const { virtkit, shell, home } = useCommand();
const ccw = `${root}packages/lab/streams/10.0.13/q100-s390-io.mig.gz`;
const packed = readFileSync(ccw);
const plain = gunzipSync(packed);
const file = (name: string, bytes: Uint8Array): string => {
  const path = join(home(), name);
  writeFileSync(path, bytes);
  return path;
};

const noise = Uint8Array.from({ length: 5000 }, (_, i) => (i * 7919 + 13) & 0xff);
const damaged = (): Uint8Array => {
  const bytes = Uint8Array.from(packed);
  bytes[2800] = (bytes[2800] ?? 0) ^ 0xff;
  return bytes;
};

describe.each(['inspect', 'verify', 'steps'])('virtkit %s', (command) => {
  test.each([
    ['an empty file', () => file('empty', new Uint8Array(0)), /there are no bytes at all/],
    ['a directory', () => home(), /virtkit-cli-\w+: is a directory/],
    ['no file', () => join(home(), 'missing'), /missing: no such file/],
    ['noise', () => file('noise', noise), /not a migration stream/],
    [
      'noise that begins like gzip',
      () => file('noise.gz', Uint8Array.of(0x1f, 0x8b, ...noise)),
      /gzip data cannot be unpacked/,
    ],
    [
      'zstd',
      () => file('stream.zst', Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, ...noise)),
      /zstd data(?:: unpack it first| cannot be unpacked)/,
    ],
    [
      'qcow2',
      () => file('disk.qcow2', Uint8Array.of(0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3)),
      /qcow2 image: the file ends within its header/,
    ],
    ['a stream that is cut', () => file('cut', plain.subarray(0, plain.length >> 1)), /at byte 0x/],
    [
      'gzip that is cut',
      () => file('cut.gz', packed.subarray(0, 2000)),
      /gzip data cannot be unpacked: unexpected end of file/,
    ],
    ['gzip without its last byte', () => file('short.gz', packed.subarray(0, -1)), /unexpected end of file/],
    ['gzip that is damaged', () => file('damaged.gz', damaged()), /gzip data cannot be unpacked/],
  ])('%s: 3, and one line that says why', (_what, make, message) => {
    const { status, stderr, stdout } = virtkit([command, make()]);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^virtkit: [^\n]*\n$/);
    expect(status).toBe(3);
    expect(stdout).not.toMatch(/not told/);
  });

  test('shows all that a cut gzip still has', () => {
    const { stdout } = virtkit([command, file('nearly.gz', packed.subarray(0, -8))]);
    expect(stdout).toContain('virtio-net@/fe.0.beef');
  });

  test.each([[[]], [['a', 'b']], [['--frobnicate', 'a']]])('wrong usage %j: 2', (more) => {
    const { status, stderr, stdout } = virtkit([command, ...more]);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^error: /);
  });

  test('takes gzip in several members, and a pipe', () => {
    const members = Buffer.concat([gzipSync(plain.subarray(0, 1000)), gzipSync(plain.subarray(1000))]);
    const whole = virtkit([command, '-'], { input: plain });
    expect(whole).toMatchObject({ status: 0, stderr: '' });
    expect(virtkit([command, '-'], { input: members })).toMatchObject({
      status: 0,
      stderr: '',
      stdout: whole.stdout,
    });
  });

  test('says nothing when its reader goes away', () => {
    const { status, stderr, stdout } = shell(`$V ${command} '${ccw}' | head -n 1`);
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout.split('\n')).toHaveLength(2);
  });

  test('refuses a small file that unpacks to commands without end, in little memory', () => {
    const head = plain.subarray(0, plain.indexOf('\x03ram') - 5);
    const commands = Buffer.alloc(40 << 20, Uint8Array.of(8, 0, 1, 0, 0));
    const bomb = file('bomb.gz', gzipSync(Buffer.concat([head, commands])));
    const { status, stderr, stdout } = virtkit([command, bomb], {
      env: { NODE_OPTIONS: '--max-old-space-size=128' },
    });
    expect(stderr).toMatch(/^virtkit: [^\n]*more commands than 65536[^\n]*\n$/);
    // a clear word, and not each of them
    expect(stdout.length).toBeLessThan(10_000);
    if (command === 'inspect') expect(stdout).toContain('commands OPEN_RETURN_PATH (65536 times)\n');
    expect(status).toBe(3);
  });

  test.skipIf(!existsSync('/dev/full'))('says that a disk is full', () => {
    const { status, stderr } = shell(`$V ${command} '${ccw}' > /dev/full`);
    expect(status).toBe(3);
    expect(stderr).toMatch(/^virtkit: standard output: [^\n]*\n$/);
  });

  test('takes a closed standard input for an empty one', () => {
    expect(shell(`$V ${command} - <&-`)).toMatchObject({
      status: 3,
      stderr: expect.stringContaining('no bytes at all'),
    });
  });
});

describe('virtkit', () => {
  test('knows its version', () => {
    const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
    expect(virtkit(['--version'])).toMatchObject({ status: 0, stdout: `${manifest.version}\n` });
    expect(virtkit(['--help'])).toMatchObject({ status: 0, stderr: '' });
    expect(virtkit([])).toMatchObject({ status: 2, stdout: '' });
  });

  test('says 1 when there is nothing of that name', () => {
    expect(virtkit(['inspect', ccw, '--device', 'nosuch'])).toMatchObject({
      status: 1,
      stdout: '',
      stderr: 'virtkit: no section with "nosuch" in its name\n',
    });
    expect(virtkit(['inspect', ccw, '--path', 'nosuch'])).toMatchObject({
      status: 1,
      stdout: '',
      stderr: 'virtkit: no field "nosuch"\n',
    });
    expect(virtkit(['steps', ccw, '--device', 'nosuch'])).toMatchObject({ status: 1, stdout: '' });
    const json = virtkit(['inspect', '--json', ccw, '--device', 'nosuch']);
    expect([json.status, JSON.parse(json.stdout).devices]).toEqual([1, []]);
  });

  test.each([
    ['queues[0].last_avail_idx', 'queues[0].lastAvailIdx'],
    ['queues[0].vring.num', 'queues[0].num'],
    ['virtio/64bit_features', 'subsections.features64'],
    ['subsections.virtqueues[0].avail', 'subsections.virtqueues[0].avail'],
    ['virtqueues[0].avail', 'subsections.virtqueues[0].avail'],
    ['mac_table.in_use', 'device.macTableInUse'],
    ['device.macTableInUse', 'device.macTableInUse'],
    ['sch.curr_status.pmcw.devno', 'transport.sch.currStatus.pmcw.devno'],
    ['config_len', 'config.length'],
  ])('finds %s', (asked, path) => {
    const { status, stdout } = virtkit(['inspect', '--json', ccw, '--device', 'virtio-net', '--path', asked]);
    expect(status).toBe(0);
    expect(JSON.parse(stdout).devices[0].fields).toEqual([expect.objectContaining({ path })]);
  });

  test("finds fields by QEMU's own names in sections that are not virtio", () => {
    const { status, stdout } = virtkit(['inspect', ccw, '--device', 'timer', '--path', 'cpu_ticks_offset']);
    expect(status).toBe(0);
    expect(stdout).toMatch(/ cpu_ticks_offset = 0x[0-9a-f]+\n/);
  });

  test('colours a terminal only, or where it is told to', () => {
    const colored = (env: Readonly<Record<string, string>>): boolean =>
      virtkit(['inspect', ccw], { env }).stdout.includes('\x1b[');
    expect(colored({})).toBe(false);
    expect(colored({ CI: 'true' })).toBe(false);
    expect(colored({ FORCE_COLOR: '1' })).toBe(true);
    expect(colored({ FORCE_COLOR: '1', NO_COLOR: '1' })).toBe(false);
    expect(colored({ COLUMNS: '10', TERM: 'dumb' })).toBe(false);
  });

  test('does not let a stream drive the terminal', () => {
    const out = new Writer();
    const writer = new StreamWriter((bytes, start, end) => out.raw(bytes.subarray(start, end)));
    writer.header(3);
    writer.configuration({ name: 'pc\x1b]0;owned\x07\x9b2J\x1b[8m' });
    writer.eof();
    const bytes = out.finish();
    for (const args of [
      ['inspect', '-'],
      ['inspect', '--json', '-'],
    ]) {
      const { status, stdout } = virtkit(args, { input: bytes });
      expect(status).toBe(0);
      expect(stdout).toContain('\\u001b]0;owned\\u0007\\u009b2J\\u001b[8m');
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
      expect(stdout).not.toMatch(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/);
    }
  });
});
