import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { findV86Kit, v86Options, v86Snapshot } from '@virtkit/lab/v86.ts';

/** What the page fetches: served, and built, as it is. */
export const GUEST_FILES = fileURLToPath(new URL('../public/guest', import.meta.url));

/**
 * Makes the files that the page boots from: kernel and firmware from Debian's packages, and a snapshot of a guest that has
 * booted, so that nobody waits for that. Does nothing if they are there.
 *
 * @returns why it could not, or undefined
 */
export async function makeGuestFiles(): Promise<string | undefined> {
  const found = findV86Kit();
  if (!found.ok) return found.reason;
  const { kit } = found;
  const keyFile = join(GUEST_FILES, 'key');
  if (existsSync(keyFile) && readFileSync(keyFile, 'utf8') === kit.key) return undefined;
  const { memory_size, vga_memory_size, cmdline } = v86Options(kit);
  const snapshot = gzipSync(new Uint8Array(await v86Snapshot(kit)), { level: 6 });
  mkdirSync(GUEST_FILES, { recursive: true });
  const write = (name: string, content: Uint8Array | string): void =>
    writeFileSync(join(GUEST_FILES, name), content);
  write('bios.bin', kit.bios);
  write('vgabios.bin', kit.vgaBios);
  write('bzimage', kit.kernel);
  write('initrd', kit.initramfs);
  write('snapshot.gzip', snapshot);
  write('machine.json', JSON.stringify({ memory_size, vga_memory_size, cmdline }));
  // last: it says that all the others are whole
  write('key', kit.key);
  return undefined;
}
