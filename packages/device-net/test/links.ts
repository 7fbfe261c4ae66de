// A card in front of a network: takes what comes, and says when it has room.
import type { NetBackend, NetPort } from '@virtkit/device-net';
import { expect } from 'vitest';
import { packetOf } from './frames.ts';

export class FakeCard implements NetPort {
  readonly received: string[] = [];
  /** Frames that it still takes. */
  room = Number.POSITIVE_INFINITY;
  txReadyCalls = 0;
  onReceive: (() => void) | undefined;
  readonly #backend: NetBackend;

  constructor(backend: NetBackend) {
    this.#backend = backend;
    backend.attach?.(this);
  }

  receive(frame: Uint8Array): boolean {
    if (this.room === 0) return false;
    this.room--;
    this.received.push(Buffer.from(frame).toString('hex'));
    this.onReceive?.();
    return true;
  }

  canReceive(): boolean {
    return this.room > 0;
  }

  txReady(): void {
    this.txReadyCalls++;
  }

  /** There are buffers again. */
  allow(frames: number): void {
    this.room = frames;
    this.#backend.rxReady?.(0);
  }

  send(frame: Uint8Array): boolean {
    return this.#backend.send(packetOf(frame));
  }
}

/** Waits for something to be as expected, however busy the machine is. */
export function poll<T>(look: () => T | Promise<T>): ReturnType<typeof expect.poll> {
  return expect.poll(look, { timeout: 30_000, interval: 20 });
}
