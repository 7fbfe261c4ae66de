import { GUESTS, type GuestName } from '../protocol.ts';
import { hasFile, readFile, writeFile } from './disk-file.ts';
import type { Bundle } from './machine.ts';

/** What stands in front of the parts of a saved guest, as JSON behind its length. */
interface Head {
  readonly guest: GuestName;
  readonly latency: number;
  readonly screen: number;
  readonly devices: readonly { readonly name: string; readonly bytes: number }[];
  readonly machine: number;
}

const file = (guest: GuestName): string => `${guest}.state`;

/** Name of the copy of the disk that belongs to a saved state. */
export const savedDisk = (guest: GuestName): string => `${guest}.saved.img`;

export function isSaved(guest: GuestName): Promise<boolean> {
  return hasFile(file(guest));
}

export async function putSaved(bundle: Bundle): Promise<void> {
  const { guest, latency, screen, devices, machine } = bundle;
  const head: Head = {
    guest: guest.name,
    latency,
    screen: screen.length,
    devices: devices.map(({ name, bytes }) => ({ name, bytes: bytes.length })),
    machine: machine.byteLength,
  };
  const text = new TextEncoder().encode(JSON.stringify(head));
  const length = Uint32Array.of(text.length);
  await writeFile(
    file(guest.name),
    new Blob([length, text, screen, ...devices.map(({ bytes }) => bytes), machine]),
  );
}

export async function getSaved(guest: GuestName): Promise<Bundle> {
  const bytes = await (await readFile(file(guest))).arrayBuffer();
  let at = 4 + (new Uint32Array(bytes, 0, 1)[0] ?? 0);
  // only this page writes into its file system
  const head = JSON.parse(new TextDecoder().decode(bytes.slice(4, at))) as Head;
  const take = (length: number): ArrayBuffer => {
    at += length;
    return bytes.slice(at - length, at);
  };
  return {
    guest: GUESTS[head.guest],
    latency: head.latency,
    screen: new Uint8Array(take(head.screen)),
    devices: head.devices.map(({ name, bytes: length }) => ({ name, bytes: new Uint8Array(take(length)) })),
    machine: take(head.machine),
  };
}
