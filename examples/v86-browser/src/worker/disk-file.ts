import { type OpfsDisk, openOpfsDisk } from '@virtkit/device-blk/opfs';
import { MeteredDisk } from './disk.ts';

/** Bytes of a new disk. The guest makes a file system on it when it finds none. */
const SIZE = 64 << 20;
/** ms */
const PATIENCE = 2000;

async function directory(): Promise<FileSystemDirectoryHandle> {
  return (await navigator.storage.getDirectory()).getDirectoryHandle('virtkit', { create: true });
}

/** The file of a guest's disk, in the origin private file system: it outlives the page, and one tab at a time has it open. */
export class DiskFile {
  readonly disk: MeteredDisk = new MeteredDisk(SIZE);
  readonly #name: string;
  #open: OpfsDisk | undefined;

  constructor(guest: string) {
    this.#name = `${guest}.img`;
  }

  /** @throws Error if another tab has it */
  async open(): Promise<void> {
    const file = await (await directory()).getFileHandle(this.#name, { create: true });
    // a page that is loaded again may find the file open for a moment: its old worker has to end first
    const end = performance.now() + PATIENCE;
    for (;;) {
      try {
        this.#open = await openOpfsDisk(file, { size: SIZE });
        this.disk.backend = this.#open;
        return;
      } catch (error) {
        const busy = error instanceof Error && 'code' in error && error.code === 'EBUSY';
        if (!busy) throw error;
        if (performance.now() > end)
          throw new Error(`${this.#name} is open in another tab`, { cause: error });
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  close(): void {
    this.disk.backend = undefined;
    this.#open?.close();
    this.#open = undefined;
  }

  /** Copies the content of another file, or to it. Only while it is closed. */
  async copy(direction: 'to' | 'from', name: string): Promise<void> {
    const [from, to] = direction === 'to' ? [this.#name, name] : [name, this.#name];
    await writeFile(to, await readFile(from));
  }
}

/** @throws DOMException `NotFoundError` */
export async function readFile(name: string): Promise<File> {
  return (await (await directory()).getFileHandle(name)).getFile();
}

export async function writeFile(name: string, content: Blob): Promise<void> {
  const file = await (await directory()).getFileHandle(name, { create: true });
  await content.stream().pipeTo(await file.createWritable());
}

export async function hasFile(name: string): Promise<boolean> {
  return readFile(name).then(
    () => true,
    () => false,
  );
}
