// Disks of many kinds under a visit: slow ones, failing ones, and those of another size.
import { type BlkBackend, type BlkOptions, memoryDisk } from '@virtkit/device-blk';
import { acceptVirtio, RamImage, StreamCollector, StreamParser, TeeSink } from '@virtkit/migration';
import { isStateError } from '@virtkit/vmstate';
import { describe, expect, test } from 'vitest';
import { type ExecuteOptions, executeRequests, type LiveStream, openStream } from '../src/index.ts';
import { connected, registry } from './corpus.ts';
import { parkedStream } from './parked.ts';

const DISK_BYTES = 1 << 20;
const WRITES = Array.from({ length: 12 }, (_, index) => ({ sector: 100 * index, byte: index + 1 }));

function opened(disk: BlkBackend, options: Partial<BlkOptions> = {}): LiveStream {
  const [collector, ram] = [new StreamCollector(), new RamImage()];
  const parser = new StreamParser(new TeeSink(collector, ram), { accepts: acceptVirtio(registry) });
  parser.push(parkedStream({ diskBytes: DISK_BYTES, writes: WRITES }));
  parser.end();
  const types = connected(
    () => disk,
    () => ({ send: () => false }),
    options,
  );
  return openStream(collector.partial(), ram, registry, { types });
}

const visited = async (disk: BlkBackend, options: Partial<BlkOptions> & ExecuteOptions = {}) =>
  (await executeRequests(opened(disk, options), options))[0];

/** A disk with other writes. */
function writing(disk: BlkBackend, write: BlkBackend['write']): BlkBackend {
  return { size: disk.size, read: (...args) => disk.read(...args), write };
}

/** Answers after so many turns of the event loop, as I/O does. */
function slow(disk: BlkBackend, turns: number): BlkBackend {
  return writing(disk, async (...args) => {
    for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
    await disk.write(...args);
  });
}

/** Fails the writes behind a place, with this error. */
function failing(disk: BlkBackend, from: number, code: string): BlkBackend {
  return writing(disk, (position, ...rest) => {
    if (position >= from) throw Object.assign(new Error(code), { code });
    return disk.write(position, ...rest);
  });
}

describe('a visit', () => {
  test.each([0, 1, 20])('waits for a disk that answers %d turns later', async (turns) => {
    const disk = memoryDisk(DISK_BYTES);
    expect(await visited(slow(disk, turns))).toMatchObject({ found: 12, executed: 11, failed: 0, left: 1 });
    const written = WRITES.filter(({ sector, byte }) => disk.bytes[512 * sector + 511] === byte);
    expect(written).toHaveLength(11);
  });

  test.each([
    ['stop', 'EIO'],
    ['stop', 'ENOSPC'],
    ['report', 'EIO'],
  ] as const)('counts what fails apart: policy %s, %s', async (werror, code) => {
    const disk = memoryDisk(DISK_BYTES);
    const opts = { rerror: werror, werror } as const;
    const result = await visited(failing(disk, 512 * 600, code), opts);
    // six of them lie there, and one of all is left alone: the first of the list, which is the last that was issued
    expect(result).toMatchObject({ found: 12, executed: 6, failed: 5, left: 1 });
  });

  test.each([0, 512, DISK_BYTES / 2, DISK_BYTES - 512, DISK_BYTES + 512, 2 * DISK_BYTES])(
    'refuses a disk of %d bytes for one of a mebibyte, and touches neither',
    async (bytes) => {
      const disk = memoryDisk(bytes);
      let written = 0;
      const error = await visited(writing(disk, () => void written++)).catch((caught: unknown) => caught);
      expect(isStateError(error) && error.code).toBe('disk-size');
      expect(String(error)).toContain(`a disk of ${512 * Math.ceil(bytes / 512)} bytes`);
      expect(String(error)).toContain(`which has ${DISK_BYTES} (2048 sectors)`);
      expect(written).toBe(0);
      const larger = visited(disk, { largerDisks: true });
      if (bytes > DISK_BYTES) expect(await larger).toMatchObject({ executed: 11, failed: 0 });
      else await expect(larger).rejects.toThrow('smaller');
    },
  );
});
