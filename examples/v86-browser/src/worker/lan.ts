import type { NetPort, PacketMeta } from '@virtkit/device-net';
import { FramePacket, NetSwitch, type SwitchPort } from '@virtkit/device-net/switch';

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
    const packet = new FramePacket();
    line.onmessage = ({ data }: MessageEvent<Wire>) => {
      port.send(packet.set(data.frame, data.meta, 0));
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
