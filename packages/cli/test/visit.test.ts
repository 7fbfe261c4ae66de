// `virtkit visit` and what it is handed: disks, pipes, one file twice, disks that fail or are in use. No QEMU made the stream.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { findQemu } from '@virtkit/lab';
import { describe, expect, test } from 'vitest';
import { parkedStream } from '../../visit/test/parked.ts';
import { convert } from '../src/convert.ts';
import { visit } from '../src/visit.ts';
import { useMigrating } from './migrating.ts';
import { violations } from './schema.ts';

const DISK_BYTES = 8 << 20;
const WRITES = Array.from({ length: 8 }, (_, index) => ({ sector: 2048 * index, byte: index + 1 }));
const stream = parkedStream({ diskBytes: DISK_BYTES, writes: WRITES });

const migrating = useMigrating();
const at = (name: string): string => join(migrating.home(), name);

function disk(name: string, bytes = DISK_BYTES): string {
  writeFileSync(at(name), '');
  truncateSync(at(name), bytes);
  const fd = openSync(at(name), 'r+');
  if (bytes > 8192) writeSync(fd, 'PRECIOUS', 4096);
  closeSync(fd);
  return at(name);
}

/** What the writes have left on it: the sectors that are as they should be. */
const written = (path: string): number => {
  const bytes = readFileSync(path);
  return WRITES.filter(
    ({ sector, byte }) => bytes[512 * sector] === byte && bytes[512 * sector + 511] === byte,
  ).length;
};

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(...args: readonly string[]): Promise<Ended> {
  const running = migrating.virtkit(...args);
  const status = await running.ended;
  return { status, stdout: running.stdout(), stderr: running.stderr() };
}

const input = (): string => {
  writeFileSync(at('in.mig'), stream);
  return at('in.mig');
};

test('executes what is in flight, all but one', async () => {
  const image = disk('disk.img');
  const { status, stdout, stderr } = await run('visit', input(), at('out.mig'), '--disk', image, '--json');
  expect([status, stderr]).toEqual([0, '']);
  const json: unknown = JSON.parse(stdout);
  expect(violations('visit', json)).toEqual([]);
  expect(json).toMatchObject({ devices: [{ found: 8, executed: 7, failed: 0, left: 1 }] });
  expect(written(image)).toBe(7);
  expect(statSync(at('out.mig')).mode & 0o777).toBe(0o600);
  // QEMU's part, and what is left of it: nothing that a visit could do
  const again = await run('visit', at('out.mig'), at('again.mig'), '--disk', image, '--json');
  expect(JSON.parse(again.stdout)).toMatchObject({ devices: [{ found: 1, executed: 0, left: 1 }] });
});

describe('refuses, and touches nothing:', () => {
  const untouched = (image: string, bytes: number): void => {
    expect([written(image), statSync(image).size]).toEqual([0, bytes]);
    expect(readdirSync(migrating.home()).filter((name) => name.startsWith('out.mig'))).toEqual([]);
  };

  test.each([0, 512, 1000, DISK_BYTES / 2, DISK_BYTES - 1024, DISK_BYTES + 1, 2 * DISK_BYTES])(
    'a disk of %d bytes for one of 8 MiB',
    async (bytes) => {
      const image = disk('disk.img', bytes);
      const { status, stderr } = await run('visit', input(), at('out.mig'), '--disk', image);
      expect(stderr).toMatch(/(smaller|larger) than the guest's, which has 8388608/);
      expect(status).toBe(3);
      untouched(image, bytes);
      const forced = await run('visit', input(), at('out.mig'), '--disk', image, '--force');
      if (bytes < DISK_BYTES) {
        expect(forced.status).toBe(3);
        untouched(image, bytes);
      } else expect([forced.status, written(image)]).toEqual([0, 7]);
    },
  );

  test('pipes, directories and devices, as a disk and as the input', async () => {
    spawnSync('mkfifo', [at('pipe')]);
    mkdirSync(at('folder'));
    const image = disk('disk.img');
    for (const path of [at('pipe'), at('folder'), '/dev/zero', '/dev/null']) {
      const asDisk = await run('visit', input(), at('out.mig'), '--disk', path);
      expect([asDisk.status, asDisk.stderr]).toEqual([2, expect.stringMatching(/a file is needed/)]);
      const asInput = await run('visit', path, at('out.mig'), '--disk', image);
      expect([asInput.status, asInput.stderr]).toEqual([2, expect.stringMatching(/a file is needed/)]);
      const converted = await run(
        'convert',
        path,
        at('out.mig'),
        '--to',
        'qemu-7.2,capabilities=x-ignore-shared',
      );
      expect([converted.status, converted.stderr]).toEqual([2, expect.stringMatching(/a file is needed/)]);
    }
    untouched(image, DISK_BYTES);
  });

  test('one file as two of them, under any name', async () => {
    const image = disk('disk.img');
    linkSync(image, at('hard'));
    symlinkSync(image, at('soft'));
    for (const name of ['disk.img', 'hard', 'soft']) {
      const { status, stderr } = await run('visit', input(), at(name), '--disk', image);
      expect([status, stderr]).toEqual([2, expect.stringMatching(/must be a file of its own/)]);
      const twice = await run('visit', input(), at('out.mig'), '--disk', `02.0=${image}`, `03.0=${at(name)}`);
      expect([twice.status, twice.stderr]).toEqual([2, expect.stringMatching(/must be a file of its own/)]);
    }
    const same = await run('visit', input(), at('in.mig'), '--disk', image);
    expect([same.status, same.stderr]).toEqual([2, expect.stringMatching(/the input and the output/)]);
    const asDisk = await run('visit', input(), at('out.mig'), '--disk', at('in.mig'));
    expect([asDisk.status, asDisk.stderr]).toEqual([2, expect.stringMatching(/the input and --disk/)]);
    expect(readFileSync(at('in.mig')).equals(Buffer.from(stream))).toBe(true);
    untouched(image, DISK_BYTES);
  });

  test('an output that cannot be written', async () => {
    const image = disk('disk.img');
    const { status } = await run('visit', input(), join(at('nowhere'), 'out.mig'), '--disk', image);
    expect(status).toBe(3);
    untouched(image, DISK_BYTES);
  });

  test('an image that a QEMU has open, unless forced', async (context) => {
    const binary = findQemu('x86_64', { root: '' });
    if (binary === undefined || process.platform !== 'linux') {
      console.warn('SKIPPED: no qemu-system-x86_64 that has an image open');
      return context.skip();
    }
    const image = disk('disk.img');
    const blockdev = `driver=file,filename=${image},node-name=f0`;
    const device = ['-blockdev', blockdev, '-device', 'virtio-blk-pci,drive=f0'];
    const args = ['-machine', 'pc', '-nodefaults', '-display', 'none', '-S', ...device, '-qmp', 'stdio'];
    const [program = '', ...first] = binary.command;
    const env = { ...process.env, ...binary.env };
    const qemu = spawn(program, [...first, ...args], { stdio: ['pipe', 'pipe', 'inherit'], env });
    try {
      await once(qemu.stdout, 'data');
      const { status, stderr } = await run('visit', input(), at('out.mig'), '--disk', image);
      expect(stderr).toMatch(/disk\.img.*lock.*--force/);
      expect(status).toBe(3);
      untouched(image, DISK_BYTES);
      const forced = await run('visit', input(), at('out.mig'), '--disk', image, '--force');
      expect([forced.status, written(image)]).toEqual([0, 7]);
    } finally {
      qemu.kill('SIGKILL');
      await once(qemu, 'exit');
    }
  });
});

describe('a disk that fails', () => {
  const failed = async (image: string, ended: Ended): Promise<void> => {
    const { status, stdout, stderr } = ended;
    expect(stderr).toMatch(/3 requests failed on their disk, and are left in flight/);
    expect(status).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ devices: [{ found: 8, executed: 4, failed: 3, left: 1 }] });
    // nothing that was reported as executed is missing
    expect(written(image)).toBe(4);
  };
  const visitIn = (image: string): string => `'${input()}' '${at('out.mig')}' --disk '${image}' --json`;

  test('in the middle, by a limit of the system: what failed is still in flight', async () => {
    const image = disk('disk.img');
    // in units of 512 bytes for POSIX's sh; the stream is smaller
    const { status, stdout, stderr } = migrating.shell(`ulimit -f 8192; exec $V visit ${visitIn(image)}`);
    await failed(image, { status, stdout, stderr });
    const again = await run('visit', at('out.mig'), at('again.mig'), '--disk', image, '--json');
    expect(JSON.parse(again.stdout)).toMatchObject({
      devices: [{ found: 4, executed: 3, failed: 0, left: 1 }],
    });
    expect(written(image)).toBe(7);
  });

  test('for want of space', async (context) => {
    const script = [
      `mount -t tmpfs -o size=${3 * 4096 + 4096} none '${at('small')}'`,
      `cd '${at('small')}' && truncate -s ${DISK_BYTES} disk.img`,
      `code=0; $V visit ${visitIn('disk.img')} || code=$?; echo $code > '${at('status')}'; cp --sparse=always disk.img '${at('copy')}'`,
    ].join('\n');
    mkdirSync(at('small'));
    const { stdout, stderr } = migrating.shell(`unshare -m sh -ec '${script.replaceAll("'", `'"'"'`)}'`);
    if (!existsSync(at('status'))) {
      console.warn(`SKIPPED: no small file system: ${stderr}`);
      return context.skip();
    }
    expect(stderr).toMatch(/requests failed on their disk/);
    expect(Number(readFileSync(at('status'), 'utf8'))).toBe(1);
    const { devices } = JSON.parse(stdout) as { devices: { executed: number; failed: number }[] };
    expect(devices[0]?.failed).toBeGreaterThan(0);
    expect(written(at('copy'))).toBe(devices[0]?.executed);
  });
});

test('an output without space: no half file has the name, and the input is as it was', async () => {
  const image = disk('disk.img');
  const line = `ulimit -f 8; exec $V convert '${input()}' '${at('out.mig')}' --to qemu-7.2`;
  const { status, stderr } = migrating.shell(line);
  expect(stderr).toMatch(/out\.mig: the file would be too large/);
  expect(status).toBe(3);
  expect(readdirSync(migrating.home()).sort()).toEqual(['disk.img', 'in.mig']);
  expect(written(image)).toBe(0);
});

describe('an input that changes between the two times that it is read', () => {
  const commands: readonly (readonly [string, () => Promise<unknown>])[] = [
    ['visit', () => visit(at('in.mig'), at('out.mig'), { disk: [disk('disk.img')] })],
    ['convert', () => convert(at('in.mig'), at('out.mig'), { target: 'qemu-7.2' })],
  ];

  // zeros behind a stream are no part of it: nothing else would notice
  test.each(commands)('%s', async (_name, command) => {
    input();
    const done = command();
    appendFileSync(at('in.mig'), new Uint8Array(4096));
    await expect(done).rejects.toThrow('in.mig: has changed while it was read');
    expect(existsSync(at('out.mig'))).toBe(false);
  });
});
