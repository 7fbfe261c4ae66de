import { fileDisk } from '@virtkit/device-blk/node';
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
  const collector = new StreamCollector();
  const ram = new RamImage();
  await pump(input, new StreamParser(new TeeSink(collector, ram), { accepts: acceptVirtio(registry) }));
  const opened = openStream(collector.partial(), ram, registry, {
    disk: (title) => fileDisk(diskFor(title, options.disk)),
    // frames that wait in the rings are left to QEMU
    network: () => ({ send: () => false }),
    ...(options.ramMap !== undefined && { ramMap: parseRamMap(options.ramMap) }),
  });
  const visited = await visitBlocks(opened);
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

function diskFor(title: string, disks: readonly string[]): string {
  for (const disk of disks) {
    const at = disk.indexOf('=');
    if (at > 0 && title.includes(disk.slice(0, at))) return disk.slice(at + 1);
  }
  const plain = disks.find((disk) => !disk.includes('='));
  if (plain === undefined)
    throw new Error(`no disk given for ${title}: --disk FILE, or --disk ${title}=FILE`);
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
