// In a browser: the page that the test drives.
import { blobDisk } from '@virtkit/device-blk/blob';
import { connectOpfsDisk, type WorkerPort } from '@virtkit/device-blk/opfs';
import { ArraySpans } from '../src/disk/array-spans.ts';

interface Page {
  readonly Worker: new (url: URL, options: { type: 'module' }) => WorkerPort;
  [name: string]: unknown;
}
const page = globalThis as unknown as Page;
const worker = new page.Worker(new URL('./opfs-worker.ts', import.meta.url), { type: 'module' });
let disk: Awaited<ReturnType<typeof connectOpfsDisk>> | undefined;

page['here'] = (name: string): Promise<unknown> =>
  new Promise((resolve) => {
    worker.addEventListener('message', ({ data }) => {
      if (typeof data === 'object' && data !== null && 'result' in data) resolve(data.result);
    });
    worker.postMessage({ here: name }, []);
  });

page['open'] = async (name: string): Promise<unknown> => {
  try {
    disk = await connectOpfsDisk(worker, name, { size: 65536 });
    return disk.size;
  } catch (error) {
    const { message, code } = error as { message: string; code?: string };
    return { message, code };
  }
};
page['write'] = async (position: number, text: string): Promise<void> => {
  const bytes = new Uint8Array(512);
  bytes.set(Uint8Array.from(text, (letter) => letter.charCodeAt(0)));
  await disk?.write(position, new ArraySpans(bytes), 0, 512);
  await disk?.flush?.();
};
page['read'] = async (position: number, length: number): Promise<string> => {
  const bytes = new Uint8Array(512);
  await disk?.read(position, new ArraySpans(bytes), 0, 512);
  return String.fromCharCode(...bytes.subarray(0, length));
};
page['close'] = (): Promise<void> | undefined => disk?.close();

/** A worker whose program is not there. */
page['lost'] = async (): Promise<string> => {
  const lost = new page.Worker(new URL('./no-such-worker.js', import.meta.url), { type: 'module' });
  return connectOpfsDisk(lost, 'c.img', { size: 65536 }).then(
    () => 'opened',
    (error: { code?: string }) => `${error.code}`,
  );
};

/** A size that there is no room for. */
page['fill'] = async (name: string): Promise<unknown> => {
  const full = await connectOpfsDisk(worker, name, { size: 4096 });
  try {
    await full.resize(1 << 30);
    return 'there was room for 1 GiB';
  } catch (error) {
    const { code } = error as { code?: string };
    const { size } = full;
    await full.close();
    return { code, size };
  }
};

/** Without a size beforehand: writes behind the file's end, as far as there is room. */
page['grow'] = async (name: string): Promise<unknown> => {
  const small = await connectOpfsDisk(worker, name, { size: 4096 });
  const bytes = new Uint8Array(1 << 16);
  let failed: string | undefined;
  for (let at = 4096; at < 1 << 24 && failed === undefined; at += bytes.length) {
    await Promise.resolve(small.write(at, new ArraySpans(bytes), 0, bytes.length)).catch(
      (error: { code?: string }) => {
        failed = error.code;
      },
    );
  }
  await small.close();
  return failed;
};

page['blob'] = async (): Promise<string> => {
  const image = blobDisk(new Blob([new Uint8Array(512).fill(65), new Uint8Array(300).fill(66)]));
  const bytes = new Uint8Array(1024).fill(1);
  await image.read(0, new ArraySpans(bytes), 0, 1024);
  return `${String.fromCharCode(bytes[511] ?? 0, bytes[512] ?? 0, bytes[811] ?? 0)}${bytes[812]}${bytes[1023]}`;
};
page['isReady'] = true;
