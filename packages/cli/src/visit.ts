import { closeSync, openSync, readSync } from 'node:fs';
import { connect } from '@virtkit/core/qemu';
import { type FileDisk, fileDisk, ImageInUseError } from '@virtkit/device-blk/node';
import { blkType } from '@virtkit/device-blk/type';
import { netType } from '@virtkit/device-net/type';
import {
  acceptVirtio,
  parseRamMap,
  RamImage,
  StreamCollector,
  StreamParser,
  TeeSink,
} from '@virtkit/migration';
import { StreamRewriter } from '@virtkit/migration/rewrite';
import { changedPages, executeRequests, type LiveStream, openStream, type Visited } from '@virtkit/visit';
import { demandClear } from './device.ts';
import { refusePipe, refuseShared, versionOf } from './files.ts';
import { Progress, pathOf, streamOf } from './input.ts';
import { PartFile } from './part-file.ts';
import { registry } from './registry.ts';
import { isSystemError, systemError } from './system-error.ts';
import { UsageError } from './usage.ts';

/** Options of `virtkit visit`. */
export interface VisitOptions {
  /** Names of raw image files: `FILE` for the only disk, or `TITLE=FILE`, a part of the device's title in front. */
  readonly disk: readonly string[];
  /** Places of RAM, `GPA:BLOCK:OFFSET:LENGTH,…`, for machines that are not in the table. */
  readonly ramMap?: string;
  /** True to take images that another program has open, and those that are larger than the guest's disk. */
  readonly force?: boolean;
}

/** Executes the requests of a stopped guest on the given disks, and writes the stream on. */
export async function visit(
  input: string,
  output: string,
  options: VisitOptions,
): Promise<readonly Visited[]> {
  refuseFiles(input, output, options);
  const version = versionOf(pathOf(input));
  // one that cannot be written is better known before a disk is
  const file = new PartFile(output);
  try {
    const visited = await visitInto(file, input, options);
    if (versionOf(pathOf(input)) !== version) throw new Error(`${input}: has changed while it was read`);
    file.finish();
    return visited;
  } catch (error) {
    file.discard();
    throw error;
  }
}

/** Refuses files that are none, or the same one twice. @throws UsageError */
function refuseFiles(input: string, output: string, { disk }: VisitOptions): void {
  refusePipe(pathOf(input), 'visit reads its input twice');
  const disks = disk.map((word) => ({ what: `--disk ${word}`, path: diskWord(word).path }));
  for (const { path } of disks) refusePipe(path, 'a disk is read and written anywhere');
  refuseShared(
    [{ what: 'the output', path: output }, ...disks],
    [{ what: 'the input', path: pathOf(input) }],
  );
}

async function visitInto(file: PartFile, input: string, options: VisitOptions): Promise<readonly Visited[]> {
  const collector = new StreamCollector();
  const ram = new RamImage();
  await pump(input, new StreamParser(new TeeSink(collector, ram), { accepts: acceptVirtio(registry) }));
  demandClear(collector.partial());
  const disks = new Disks(options);
  let opened: LiveStream;
  let visited: Visited[];
  try {
    opened = openStream(collector.partial(), ram, registry, {
      types: [
        connect(blkType).to((title, inferred) => ({
          ...inferred,
          backend: disks.open(title, inferred.readOnly === true),
          // what fails here may succeed there: the guest does not hear of it
          rerror: 'stop',
          werror: 'stop',
        })),
        // frames that wait in the rings are left to QEMU
        connect(netType).to((_title, inferred) => ({ ...inferred, backend: { send: () => false } })),
      ],
      ...(options.ramMap !== undefined && { ramMap: parseRamMap(options.ramMap) }),
    });
    visited = await executeRequests(opened, { largerDisks: options.force === true });
    // before a stream without these requests can be found
    await disks.flush();
  } finally {
    disks.close();
  }
  const bodies = new Map(visited.map(({ idstr, body }) => [idstr, body]));
  const rewriter = new StreamRewriter((bytes, start, end) => file.write(bytes.subarray(start, end)), {
    body: ({ idstr }) => bodies.get(idstr),
    pages: changedPages(opened, ram.blocks),
  });
  await pump(input, new StreamParser(rewriter, { accepts: acceptVirtio(registry) }));
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

/** Images that were opened. */
class Disks {
  readonly #words: readonly string[];
  readonly #force: boolean;
  readonly #open = new Map<string, FileDisk>();

  constructor({ disk, force = false }: VisitOptions) {
    this.#words = disk;
    this.#force = force;
  }

  /**
   * Opens the image for a device. @throws UsageError for what is missing, no raw image, or another device's already;
   * Error for what is in use
   */
  open(title: string, readOnly: boolean): FileDisk {
    const path = diskFor(title, this.#words);
    if (this.#open.has(path))
      throw new UsageError(`${path}: is the disk of two devices: --disk ${title}=FILE`);
    const format = formatOf(path);
    if (format !== undefined)
      throw new UsageError(`${path}: is ${format}, and only raw images can be written to (qemu-img convert)`);
    try {
      const disk = fileDisk(path, { readOnly, locking: this.#force ? 'off' : 'check' });
      this.#open.set(path, disk);
      return disk;
    } catch (error) {
      if (error instanceof ImageInUseError)
        throw new Error(`${error.message}; --force opens it all the same`, { cause: error });
      throw isSystemError(error) ? systemError(path, error) : error;
    }
  }

  /** Waits until all that was written is on the disk. */
  async flush(): Promise<void> {
    for (const [path, disk] of this.#open) {
      try {
        if (disk.readOnly !== true) await disk.flush?.();
      } catch (error) {
        throw isSystemError(error) ? systemError(path, error) : error;
      }
    }
  }

  close(): void {
    for (const disk of this.#open.values()) disk.close();
  }
}

/** Beginnings of image formats whose bytes are not the disk's. */
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

/** Reads `TITLE=FILE`, or a file for any title. */
function diskWord(word: string): { readonly title: string; readonly path: string } {
  const at = word.indexOf('=');
  return at > 0 ? { title: word.slice(0, at), path: word.slice(at + 1) } : { title: '', path: word };
}

function diskFor(title: string, words: readonly string[]): string {
  const disks = words.map(diskWord);
  const found =
    disks.find((disk) => disk.title !== '' && title.includes(disk.title)) ??
    disks.find((disk) => disk.title === '');
  if (found === undefined)
    throw new UsageError(`no disk given for ${title}: --disk FILE, or --disk ${title}=FILE`);
  return found.path;
}

/** Writes in words what was done. */
export function visitText(visited: readonly Visited[]): string {
  const lines = visited.map(
    ({ title, found, executed, failed, left }) =>
      `${title}: ${found} requests in flight; ${executed} executed and given back, ${left} left for QEMU${failed === 0 ? '' : `, ${failed} FAILED`}`,
  );
  return `${lines.length === 0 ? 'no block device' : lines.join('\n')}\n`;
}
