// In a browser: a device in this worker, its disk in the origin private file system; and disks for the page.
import { openOpfsDisk, serveOpfsDisks } from '@virtkit/device-blk/opfs';
import { ArraySpans } from '../src/disk/array-spans.ts';

serveOpfsDisks();

interface Channel {
  postMessage(message: unknown): void;
  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void;
}
const channel = globalThis as unknown as Channel;

/** Opens, writes and reads at once, closes. */
async function here(name: string): Promise<unknown> {
  const disk = await openOpfsDisk(name, { size: 65536 });
  const bytes = Uint8Array.from({ length: 1024 }, (_, i) => i * 7);
  const written = disk.write(512, new ArraySpans(bytes), 0, 1024);
  const back = new Uint8Array(1024);
  const read = disk.read(512, new ArraySpans(back), 0, 1024);
  disk.flush?.();
  disk.resize(131072);
  const { size } = disk;
  disk.close();
  return {
    atOnce: written === undefined && read === undefined,
    same: back.every((byte, i) => byte === bytes[i]),
    size,
  };
}

channel.addEventListener('message', ({ data }) => {
  const { here: name } = data as { here?: string };
  if (name === undefined) return;
  here(name).then(
    (result) => channel.postMessage({ result }),
    (error: unknown) => channel.postMessage({ result: String(error) }),
  );
});
