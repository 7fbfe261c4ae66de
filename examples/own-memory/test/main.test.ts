import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { BlkDriver, MmioModernDriver, MmioSlot } from '@virtkit/testing';
import { MmioDevice } from '@virtkit/transport-mmio';
import { expect, test } from 'vitest';
import { PAGE, PagedMemory } from '../src/paged-memory.ts';
import { PagedRam } from '../src/paged-ram.ts';

test('a guest with 64 GiB works, and costs what it uses', { timeout: 60_000 }, async () => {
  const args = ['--import', 'tsx', '--conditions=@virtkit/source', 'src/main.ts'];
  const cwd = fileURLToPath(new URL('..', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd });
  expect(stdout).toContain('20 of 20 reads are right');
  const [, made, wrote] = /(\d+) of 16777216 pages were made; devices wrote (\d+) bytes/.exec(stdout) ?? [];
  expect(Number(made)).toBeLessThan(2000);
  // what was read, a status byte each, and the rings
  expect(Number(wrote)).toBeGreaterThanOrEqual(20 * 51201);
});

const RINGS = [
  ['split', {}],
  ['packed', { packed: true }],
] as const;

test.each(RINGS)('random requests, %s: the disk is as a model of it', async (_name, rings) => {
  const memory = new PagedMemory(1024 * PAGE);
  const model = new Uint8Array(1 << 18);
  const backend = memoryDisk(model.slice());
  const slot = new MmioSlot();
  const setIrq = (level: boolean): void => slot.setIrq(level);
  slot.plug(new MmioDevice(new BlkDevice({ backend }), { memory, setIrq, rings }));
  const driver = new BlkDriver(
    { transport: new MmioModernDriver(() => slot), ram: new PagedRam(memory, PAGE), rings },
    // segments that begin anywhere in a page, and end in another one
    { segment: 5000 },
  );
  driver.probe();
  driver.start();
  for (let n = 0; n < 60; n++) {
    const [sector, sectors] = [(n * 37) % 300, 1 + ((n * 11) % 60)];
    const at = 512 * sector;
    if (n % 2 === 0) {
      const data = new Uint8Array(512 * sectors).fill(n + 1);
      driver.write(sector, data);
      model.set(data, at);
    } else {
      const request = driver.read(sector, sectors);
      while (driver.pending > 0) driver.service();
      expect(Buffer.compare(request.data, model.subarray(at, at + 512 * sectors))).toBe(0);
    }
  }
  while (driver.pending > 0) driver.service();
  expect(Buffer.compare(backend.bytes, model)).toBe(0);
});
