import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { root, useCommand } from './command.ts';

const { virtkit } = useCommand();
const pci = `${root}packages/lab/streams/10.0.13/q100-q35-inflight-mq.mig.gz`;
const ccw = `${root}packages/lab/streams/10.0.13/q100-s390-io.mig.gz`;

/** The stream with a ring of three entries in its first disk. */
function withBrokenRing(): Uint8Array {
  const bytes = gunzipSync(readFileSync(pci));
  const { stdout } = virtkit(['inspect', pci, '--device', '01.0/virtio-blk', '--path', 'queues[0].num']);
  const [, at = ''] = /(0x[0-9a-f]+)\.\.0x/.exec(stdout) ?? [];
  bytes.writeUInt32BE(3, Number(at));
  return bytes;
}

describe('virtkit', () => {
  test('inspects: first a table that fits a screen, with what is in flight', () => {
    const { status, stdout, stderr } = virtkit(['inspect', pci]);
    expect([status, stderr]).toEqual([0, '']);
    const lines = stdout.split('\n');
    expect(lines.length).toBeLessThan(24);
    expect(lines.filter((line) => line.length > 132)).toEqual([]);
    expect(lines[0]).toMatch(/^migration stream of [\d.]+ [KM]iB, machine pc-q35-10\.0$/);
    const table = lines.slice(lines.indexOf('') + 1);
    expect(table[0]).toMatch(/^device +status +driver +features +queues +in flight +findings$/);
    expect(table[1]).toMatch(
      /^virtio-blk@0000:00:01\.0 +DRIVER_OK +1\.x, split +\d+ .*\bMQ\b.* +\d(?: of \d)? × \d+ +12 +-$/,
    );
  });

  test('what is wrong with a device stands below the table', () => {
    const { stdout, status } = virtkit(['inspect', '-'], { input: withBrokenRing() });
    expect(status).toBe(0);
    expect(stdout).toMatch(/^virtio-blk@0000:00:01\.0: queues\[0\].*/m);
    expect(stdout).toMatch(/^virtio-blk@0000:00:01\.0 .* [1-9]$/m);
  });

  test('inspects all: features, status and queues by name, requests in flight', () => {
    const { status, stdout, stderr } = virtkit(['inspect', '--all', pci]);
    expect(status).toBe(0);
    expect(stderr).toBe('');
    for (const text of [
      'pc-q35-10.0',
      'virtio-blk@0000:00:01.0',
      'VIRTIO_BLK_F_MQ',
      'VIRTIO_F_VERSION_1',
      'FEATURES_OK',
      'last_avail_idx',
      '12 requests',
    ]) {
      expect(stdout).toContain(text);
    }
  });

  test('answers JSON that has what the schema requires', () => {
    const schema = JSON.parse(
      readFileSync(new URL('../schema/inspect.schema.json', import.meta.url), 'utf8'),
    ) as { readonly required: readonly string[] };
    const { status, stdout } = virtkit(['inspect', '--json', ccw]);
    expect(status).toBe(0);
    const json = JSON.parse(stdout) as Readonly<Record<string, unknown>> & {
      readonly devices: readonly {
        readonly transport: string;
        readonly state: { readonly queues: readonly unknown[] };
      }[];
    };
    for (const key of schema.required) expect(json).toHaveProperty(key);
    expect(json.devices.map(({ transport }) => transport)).toEqual(['ccw', 'ccw']);
    expect(json.devices[1]?.state.queues).toHaveLength(3);
  });

  test("takes a pipe, and a path in QEMU's spelling", () => {
    const { status, stdout } = virtkit(
      ['inspect', '--device', 'virtio-blk', '--path', 'queues[1].last_avail_idx', '-'],
      { input: gunzipSync(readFileSync(pci)) },
    );
    expect(status).toBe(0);
    expect(stdout).toMatch(/0x[0-9a-f]+\.\.0x[0-9a-f]+ {2}queues\[1\]\.lastAvailIdx = 5/);
  });

  test('verifies, and prints the three columns', () => {
    expect(virtkit(['verify', ccw])).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('encoded to the same bytes'),
    });
    const { stdout } = virtkit(['steps', ccw, '--device', 'virtio-net']);
    const calls = [...stdout.matchAll(/> (\w+)\(\)/g)].map(([, call]) => call);
    expect(calls).toEqual([
      'save',
      'save_config',
      'save_queue',
      'save_queue',
      'save_queue',
      'save_device',
      'load',
      'load_config',
      'load_queue',
      'load_queue',
      'load_queue',
      'load_device',
    ]);
  });

  test('says 1 for findings, 2 for usage, 3 for what it cannot read', () => {
    const bytes = gunzipSync(readFileSync(ccw));
    const damaged = bytes.slice();
    // the interruption subclass of the first device: byte 0x1ea of its body
    const name = Buffer.from(damaged).indexOf('/fe.0.0100/virtio-blk');
    damaged[name + '/fe.0.0100/virtio-blk'.length + 8 + 0x1ea] = 9;
    expect(virtkit(['verify', '-'], { input: damaged })).toMatchObject({
      status: 1,
      stdout: expect.stringMatching(/interruption subclass 9.*at byte 0x/),
    });
    expect(virtkit(['frobnicate']).status).toBe(2);
    const cut = virtkit(['inspect', '-'], { input: bytes.subarray(0, bytes.length / 2) });
    expect(cut.status).toBe(3);
    expect(cut.stderr).toMatch(/at byte 0x/);
    expect(virtkit(['verify', '-'], { input: Buffer.from('no stream at all') }).status).toBe(3);
  });
});
