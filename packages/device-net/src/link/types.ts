/** What went over a link. Plain numbers, for reading. */
export class LinkCounters {
  /** Frames that were sent; with segmentation in software they are more than the card's packets. */
  txFrames = 0;
  /** Bytes of the frames that were sent. */
  txBytes = 0;
  /** Frames that were lost because the link was down, or because the network did not take them. */
  txDropped = 0;
  /** Times that a card had to wait because the network was slow. */
  txRefused = 0;
  /** Frames that came. */
  rxFrames = 0;
  /** Bytes of the frames that came. */
  rxBytes = 0;
  /** Frames that were lost because the guest had no buffer for long, because no card was there, or because it threw. */
  rxDropped = 0;
  /** Frames that are none: shorter than an Ethernet header, longer than {@link LinkOptions.frameMax}, a message of text. */
  rxMalformed = 0;
  /** Times that the link came up. */
  connects = 0;
}

/** What a link tells the host program. */
export type LinkEvent =
  | { readonly name: 'up'; readonly peer: string }
  /** `retryIn`: milliseconds to the next attempt of this side, if it makes one. */
  | { readonly name: 'down'; readonly reason: string; readonly retryIn?: number }
  /** Somebody else has connected to a link for two. */
  | { readonly name: 'refused'; readonly peer: string }
  /** What is wrong does not end the link, and is told once while it is up: a port where nobody listens, a message of text. */
  | { readonly name: 'trouble'; readonly reason: string }
  /** The card has thrown: the frame is lost, if it was one, and the next one is tried as usual. */
  | { readonly name: 'failed'; readonly error: unknown };

/** Options that all links have. */
export interface LinkOptions {
  /** Longest frame that is taken, 14 to 69632, which is the default and QEMU's limit. */
  readonly frameMax?: number;
  /** What it throws, a timer throws once more. Without it a timer throws what a card threw. */
  readonly onEvent?: (event: LinkEvent) => void;
}

/** Milliseconds between attempts to connect: twice as many after each, up to `max`. Defaults 1000 and 30000. */
export interface ReconnectOptions {
  /** Milliseconds before the first attempt; default 1000. */
  readonly min?: number;
  /** Most milliseconds between two attempts; default 30000. */
  readonly max?: number;
}

/** Shortest frame: addresses and a type. */
export const FRAME_MIN = 14;
/** Longest frame by default, and at all: what QEMU's net layer takes (`NET_BUFSIZE`). */
export const FRAME_MAX = 4096 + 65536;
