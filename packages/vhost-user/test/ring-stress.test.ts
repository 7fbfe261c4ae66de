// A driver in C at native speed, which kicks and sleeps only as the rules of event suppression allow: a lost notification leaves it asleep.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { DeviceEvent } from '@virtkit/core';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { serveVhostUser, type VhostUserServer } from '../src/index.ts';

const hasCompiler = spawnSync('cc', ['--version']).status === 0;
if (!hasCompiler) console.warn('SKIPPED: a native driver of rings: there is no cc');

/** Batches of a run; more by hand. */
const BATCHES = process.env['VIRTKIT_SLOW'] !== '1' ? 10_000 : 2_000_000;
const SECTORS = 2048;
const SECTOR = 512;

let folder: string;
let server: VhostUserServer | undefined;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'vu-'));
  if (!hasCompiler) return;
  const source = fileURLToPath(new URL('./ring-driver.c', import.meta.url));
  execFileSync('cc', ['-O2', '-o', join(folder, 'driver'), source]);
});

afterEach(() => {
  server?.close();
  server = undefined;
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(!hasCompiler)('a native driver', () => {
  test.each([
    ['split', 64, []],
    ['packed', 64, []],
    ['packed', 12, []],
    // as in QEMU with one processor, where the guest's barrier is none
    ['split', 64, ['no-barrier']],
    ['packed', 64, ['no-barrier']],
  ])(
    'never waits for a %s ring of %i entries in vain %j',
    async (format, entries, more) => {
      const bytes = new Uint8Array(SECTORS * SECTOR);
      const view = new DataView(bytes.buffer);
      for (let sector = 0; sector < SECTORS; sector++)
        view.setBigUint64(sector * SECTOR, BigInt(sector), true);
      const events: DeviceEvent[] = [];
      const path = join(folder, `${format}-${entries}-${more.length}`);
      server = serveVhostUser(new BlkDevice({ backend: memoryDisk(bytes) }), {
        path,
        onEvent: (event) => events.push(event),
      });
      const seed = process.env['VIRTKIT_SEED'] === 'random' ? `${Date.now() & 0xffff}` : '1';
      const args = [path, format, `${entries}`, `${BATCHES}`, `${SECTORS}`, seed, ...more];
      const child = spawn(join(folder, 'driver'), args, { stdio: ['ignore', 'pipe', 'inherit'] });
      try {
        const [said] = await Promise.all([text(child.stdout), once(child, 'exit')]);
        expect(said, `seed ${seed}`).toMatch(/^DONE \d+ requests/);
        expect(Number(/DONE (\d+)/.exec(said)?.[1])).toBeGreaterThan(BATCHES);
      } finally {
        child.kill('SIGKILL');
      }
      expect(events.filter(({ name }) => name === 'fault' || name === 'front-end-fault')).toEqual([]);
    },
    1_200_000,
  );
});
