import type { NetPort, Packet, PacketMeta } from '@virtkit/device-net';
import { NetSwitch, type SwitchPort } from '@virtkit/device-net/switch';

/** A frame on its way between tabs. */
interface Wire {
  readonly frame: Uint8Array;
  readonly meta: PacketMeta;
}

/**
 * The Ethernet of the guests: a switch in this worker, and a line to the switches in the other tabs, so that a guest that
 * moves there keeps its neighbours.
 */
export class Lan {
  readonly #switch = new NetSwitch({ defer: (proceed) => setTimeout(proceed, 0) });

  constructor() {
    const line = new BroadcastChannel('virtkit-lan');
    const port = this.#switch.port();
    const end: NetPort = {
      receive: (frame, meta = COMPLETE) => {
        line.postMessage({ frame: frame.slice(), meta: plain(meta) } satisfies Wire);
        return true;
      },
      canReceive: () => true,
      txReady: () => {},
    };
    port.attach?.(end);
    line.onmessage = ({ data }: MessageEvent<Wire>) => {
      port.send(new Received(data));
    };
  }

  port(): SwitchPort {
    return this.#switch.port();
  }
}

/** What says of a frame that it is complete may be an object with getters, which a message does not take along. */
function plain({ flags, gsoType, hdrLen, gsoSize, csumStart, csumOffset }: PacketMeta): PacketMeta {
  return { flags, gsoType, hdrLen, gsoSize, csumStart, csumOffset };
}

const COMPLETE: PacketMeta = { flags: 0, gsoType: 0, hdrLen: 0, gsoSize: 0, csumStart: 0, csumOffset: 0 };

/** A frame from another tab, in one piece. */
class Received implements Packet {
  readonly pair = 0;
  readonly pieces = 1;
  readonly flags: number;
  readonly gsoType: number;
  readonly hdrLen: number;
  readonly gsoSize: number;
  readonly csumStart: number;
  readonly csumOffset: number;
  readonly #frame: Uint8Array;

  constructor({ frame, meta }: Wire) {
    this.#frame = frame;
    this.flags = meta.flags;
    this.gsoType = meta.gsoType;
    this.hdrLen = meta.hdrLen;
    this.gsoSize = meta.gsoSize;
    this.csumStart = meta.csumStart;
    this.csumOffset = meta.csumOffset;
  }

  get length(): number {
    return this.#frame.length;
  }

  bytes(): Uint8Array {
    return this.#frame;
  }

  offset(): number {
    return 0;
  }

  size(): number {
    return this.#frame.length;
  }

  copyTo(target: Uint8Array, at = 0, from = 0, length: number = this.length - from): number {
    const piece = this.#frame.subarray(from, from + length);
    target.set(piece, at);
    return piece.length;
  }
}
