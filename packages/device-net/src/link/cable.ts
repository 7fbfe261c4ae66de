import { HostError } from '@virtkit/core';
import type { GuestOffloads, NetBackend, NetOffloads, NetPort, PacketMeta } from '../live/backend.ts';
import { FramePacket } from './frame-packet.ts';

/**
 * Connects two back ends, neither of which has a card: a port of a switch with a network outside, two networks.
 *
 * ```ts
 * connect(lan.port(), new WebSocketBackend({ url: 'wss://relay.widgetry.org/' }));
 * ```
 *
 * What one delivers the other sends; if it cannot now, the first one keeps it, as it does for a card without buffers.
 */
export function connect(a: NetBackend, b: NetBackend): void {
  if (a === b) throw new HostError('a back end cannot be connected with itself');
  const [toB, toA] = [new End(b), new End(a)];
  toB.back = toA;
  toA.back = toB;
  a.attach?.(toB);
  b.attach?.(toA);
  a.guestOffloads?.(takes(b.supports));
  b.guestOffloads?.(takes(a.supports));
}

/** Card that a back end sees, which is the way to the other back end. */
class End implements NetPort {
  back: End | undefined;
  readonly #far: NetBackend;
  readonly #packet = new FramePacket();
  #full = false;

  constructor(far: NetBackend) {
    this.#far = far;
  }

  receive(frame: Uint8Array, meta?: PacketMeta, pair = 0): boolean {
    // before the call: it may become ready while it refuses
    this.#full = true;
    // a frame at which it throws is lost, and does not wait
    let refused = false;
    try {
      refused = !this.#far.send(this.#packet.set(frame, meta, pair));
    } finally {
      if (!refused) this.#full = false;
    }
    return !refused;
  }

  canReceive(): boolean {
    return !this.#full;
  }

  /** Tells whoever is at this end to take again what it refused: the other end has kept it. */
  txReady(): void {
    if (this.back !== undefined) this.back.#full = false;
    this.#far.rxReady?.(0);
  }
}

function takes({
  csum = false,
  tso = false,
  ufo = false,
  uso = false,
  udpTunnel = false,
}: NetOffloads = {}): GuestOffloads {
  return {
    csum,
    tso4: tso,
    tso6: tso,
    ecn: tso,
    ufo,
    uso4: uso,
    uso6: uso,
    udpTunnel,
    udpTunnelCsum: udpTunnel,
  };
}
