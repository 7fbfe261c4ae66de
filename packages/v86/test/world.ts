import type { DeviceEvent, Spans } from '@virtkit/core';
import { type BlkBackend, BlkDevice, type MemoryDisk } from '@virtkit/device-blk';
import { NetDevice } from '@virtkit/device-net';
import type { NetSwitch } from '@virtkit/device-net/switch';
import {
  findV86Kit,
  resumeV86,
  type V86Kit,
  type V86Shell,
  v86Options,
  v86Snapshot,
} from '@virtkit/lab/v86.ts';
import { type Attachment, type AttachOptions, attach } from '@virtkit/v86';
import { V86, type V86Options } from 'v86';
import { afterEach } from 'vitest';

export const DISK_SLOT = 3;
export const CARD_SLOT = 4;
/** A boot for the snapshot is in it, for whoever comes first. */
export const TIMEOUT_MS = 400_000;

const found = findV86Kit();
if (!found.ok) console.warn(`SKIPPED: Linux in v86: ${found.reason}`);
/** `describe.skipIf(noGuest)` */
export const noGuest = !found.ok;

export interface Guest {
  readonly emulator: V86;
  readonly shell: V86Shell;
  readonly events: DeviceEvent[];
}

const alive = new Set<V86>();
afterEach(async () => {
  for (const emulator of alive) {
    if (emulator.is_running()) await emulator.stop();
    await emulator.destroy();
  }
  alive.clear();
});

let snapshot: Promise<ArrayBuffer> | undefined;

function kit(): V86Kit {
  if (!found.ok) throw new Error(found.reason);
  return found.kit;
}

/** A Linux at its shell, not yet running. */
export async function linux(): Promise<Guest> {
  snapshot ??= v86Snapshot(kit());
  const { emulator, shell } = await resumeV86(kit(), await snapshot);
  alive.add(emulator);
  return { emulator, shell, events: [] };
}

/** A machine that has not been switched on. */
export function machine(change = (options: V86Options): V86Options => options): V86 {
  const emulator = new V86(change(v86Options(kit())));
  alive.add(emulator);
  return emulator;
}

/** Devices go into a guest that runs: it finds them when it scans its bus. */
export async function scan({ emulator, shell }: Guest): Promise<void> {
  if (!emulator.is_running()) await emulator.run();
  await shell.run('echo 1 > /sys/bus/pci/rescan');
}

export function addDisk(
  guest: Guest,
  backend: BlkBackend,
  { slot = DISK_SLOT, queueSize, ...options }: Partial<AttachOptions> & { queueSize?: number } = {},
): { readonly blk: BlkDevice; readonly attachment: Attachment } {
  const blk = new BlkDevice({ backend, ...(queueSize && { queueSize }) });
  const attachment = attach(guest.emulator, blk, {
    slot,
    onEvent: (event) => guest.events.push(event),
    ...options,
  });
  return { blk, attachment: attachment as Attachment };
}

export function addCard(
  guest: Guest,
  lan: NetSwitch,
  number: number,
  options: Partial<AttachOptions> = {},
): { readonly net: NetDevice; readonly attachment: Attachment } {
  const net = new NetDevice({ backend: lan.port(), mac: `52:54:00:00:00:0${number}` });
  const attachment = attach(guest.emulator, net, {
    slot: CARD_SLOT,
    onEvent: (event) => guest.events.push(event),
    ...options,
  });
  return { net, attachment: attachment as Attachment };
}

/** An address for the card, and the link up. */
export async function configure({ shell }: Guest, number: number): Promise<void> {
  await shell.run(
    `n=0; while [ ! -e /sys/class/net/eth0 ] && [ $n -lt 50 ]; do usleep 100000; n=$((n + 1)); done; ip addr add 10.0.0.${number}/24 dev eth0; ip link set eth0 up`,
  );
}

/** A disk whose operations take so long, or longer while it is told to hold them, and how many of them are under way. */
export class LateDisk implements BlkBackend {
  readonly inner: MemoryDisk;
  readonly #delayMs: number;
  #held: Promise<void> | undefined;
  #release: () => void = () => {};
  underway = 0;
  most = 0;
  writes = 0;

  constructor(inner: MemoryDisk, delayMs: number) {
    this.inner = inner;
    this.#delayMs = delayMs;
  }

  get size(): number {
    return this.inner.size;
  }

  async read(position: number, target: Spans, from: number, length: number): Promise<void> {
    await this.#later();
    this.inner.read(position, target, from, length);
  }

  async write(position: number, source: Spans, from: number, length: number): Promise<void> {
    const bytes = new Uint8Array(length);
    source.copyTo(from, bytes, 0, length);
    this.writes++;
    await this.#later();
    this.inner.bytes.set(bytes, position);
  }

  async flush(): Promise<void> {
    await this.#later();
  }

  /** What begins from now on does not end before {@link release}, however slow the machine that runs the test. */
  hold(): void {
    this.#held = new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  /** What was held ends. */
  release(): void {
    this.#release();
    this.#held = undefined;
  }

  async #later(): Promise<void> {
    this.most = Math.max(this.most, ++this.underway);
    const held = this.#held;
    await new Promise((resolve) => setTimeout(resolve, this.#delayMs));
    await held;
    this.underway--;
  }
}

export const delay = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
