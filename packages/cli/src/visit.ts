import { closeSync, openSync, readSync } from 'node:fs';
import { type FileDisk, fileDisk } from '@virtkit/device-blk/node';
import {
  acceptVirtio,
  parseRamMap,
  RamImage,
  StreamCollector,
  StreamParser,
  TeeSink,
} from '@virtkit/migration';
import { changedPages, openStream, StreamRewriter, type Visited, visitBlocks } from '@virtkit/visit';
import { Progress, streamOf } from './input.ts';
import { PartFile } from './part-file.ts';
import { registry } from './registry.ts';
import { isSystemError, systemError } from './system-error.ts';
import { UsageError } from './usage.ts';

/** Options of `virtkit visit`. */
export interface VisitOptions {
  /** Raw image files: `FILE` for the only disk, or `TITLE=FILE`, a part of the device's title in front. */
  readonly disk: readonly string[];
  /** `GPA:BLOCK:OFFSET:LENGTH,…` for machines that are not in the table. */
  readonly ramMap?: string;
}

/** Executes the requests of a stopped guest on the given disks, and writes the stream on. */
export async function visit(
  input: string,
  output: string,
  options: VisitOptions,
): Promise<readonly Visited[]> {
  if (input === '-') throw new UsageError('visit reads its input twice: a file is needed, not a pipe');
  const collector = new StreamCollector();
  const ram = new RamImage();
  await pump(input, new StreamParser(new TeeSink(collector, ram), { accepts: acceptVirtio(registry) }));
  const disks = new Disks(options.disk);
  const opened = openStream(collector.partial(), ram, registry, {
    disk: (title) => disks.open(title),
    // frames that wait in the rings are left to QEMU
    network: () => ({ send: () => false }),
    ...(options.ramMap !== undefined && { ramMap: parseRamMap(options.ramMap) }),
  });
  const visited = await visitBlocks(opened);
  // before a stream without these requests can be found
  await disks.close();
  const bodies = new Map(visited.map(({ idstr, body }) => [idstr, body]));
  const file = new PartFile(output);
  try {
    const rewriter = new StreamRewriter((bytes, start, end) => file.write(bytes.subarray(start, end)), {
      body: ({ idstr }) => bodies.get(idstr),
      pages: changedPages(opened, ram.blocks),
    });
    await pump(input, new StreamParser(rewriter, { accepts: acceptVirtio(registry) }));
    file.finish();
  } catch (error) {
    file.discard();
    throw error;
  }
  return visited;
}

async function pump(input: string, parser: StreamParser): Promise<void> {
  const progress = new Progress(input);
  try {
    for await (const chunk of streamOf(input)) {
      parser.push(chunk);
      progress.add(chunk.length);
    }
    parser.end();
  } finally {
    progress.end();
  }
}

/** The images that were opened. */
class Disks {
  readonly #words: readonly string[];
  readonly #open = new Map<string, FileDisk>();

  constructor(words: readonly string[]) {
    this.#words = words;
  }

  /** @throws UsageError for what is missing, no raw image, or another device's already */
  open(title: string): FileDisk {
    const path = diskFor(title, this.#words);
    if (this.#open.has(path))
      throw new UsageError(`${path}: is the disk of two devices: --disk ${title}=FILE`);
    const format = formatOf(path);
    if (format !== undefined)
      throw new UsageError(`${path}: is ${format}, and only raw images can be written to (qemu-img convert)`);
    try {
      const disk = fileDisk(path);
      this.#open.set(path, disk);
      return disk;
    } catch (error) {
      throw isSystemError(error) ? systemError(path, error) : error;
    }
  }

  /** Returns when all that was written is on the disk. */
  async close(): Promise<void> {
    for (const disk of this.#open.values()) {
      await disk.flush?.();
      disk.close();
    }
  }
}

/** Image formats whose bytes are not the disk's: how they begin. */
const FORMATS: Readonly<Record<string, string>> = {
  '514649fb': 'qcow2',
  '4b444d56': 'vmdk',
  '51454400': 'qed',
  '76686478': 'vhdx',
  '636f6e65': 'vpc',
};

function formatOf(path: string): string | undefined {
  const first = new Uint8Array(4);
  try {
    const fd = openSync(path, 'r');
    readSync(fd, first, 0, 4, 0);
    closeSync(fd);
  } catch (error) {
    throw systemError(path, error);
  }
  return FORMATS[Buffer.from(first).toString('hex')];
}

function diskFor(title: string, disks: readonly string[]): string {
  for (const disk of disks) {
    const at = disk.indexOf('=');
    if (at > 0 && title.includes(disk.slice(0, at))) return disk.slice(at + 1);
  }
  const plain = disks.find((disk) => !disk.includes('='));
  if (plain === undefined)
    throw new UsageError(`no disk given for ${title}: --disk FILE, or --disk ${title}=FILE`);
  return plain;
}

/** What was done, in words. */
export function visitText(visited: readonly Visited[]): string {
  const lines = visited.map(
    ({ title, found, executed, left }) =>
      `${title}: ${found} requests in flight; ${executed} executed and given back, ${left} left for QEMU`,
  );
  return `${lines.length === 0 ? 'no block device' : lines.join('\n')}\n`;
}
