/** Counters of what went over a link: plain numbers, for reading. */
export class LinkCounters {
  /** Number of frames that were sent; with segmentation in software they are more than the card's packets. */
  txFrames = 0;
  /** Number of bytes of the frames that were sent. */
  txBytes = 0;
  /** Number of frames that were lost because the link was down, or because the network did not take them. */
  txDropped = 0;
  /** Number of times that a card had to wait because the network was slow. */
  txRefused = 0;
  /** Number of frames that came. */
  rxFrames = 0;
  /** Number of bytes of the frames that came. */
  rxBytes = 0;
  /**
   * Number of frames that were lost because the guest had no buffer for long, because no card was there, or because it
   * threw.
   */
  rxDropped = 0;
  /**
   * Number of frames that are none: shorter than an Ethernet header, longer than {@link LinkOptions.frameMax}, a
   * message of text.
   */
  rxMalformed = 0;
  /** Number of times that the link came up. */
  connects = 0;
}

/** Event of a link, for the host program. */
export type LinkEvent =
  | { readonly name: 'up'; readonly peer: string }
  /** End of the connection. `retryIn`: milliseconds to the next attempt of this side, if it makes one. */
  | { readonly name: 'down'; readonly reason: string; readonly retryIn?: number }
  /** Refusal of somebody else who has connected to a link for two. */
  | { readonly name: 'refused'; readonly peer: string }
  /** Trouble that does not end the link, told once while it is up: a port where nobody listens, a message of text. */
  | { readonly name: 'trouble'; readonly reason: string }
  /** Exception of the card: the frame is lost, if it was one, and the next one is tried as usual. */
  | { readonly name: 'failed'; readonly error: unknown };

/** Options that all links have. */
export interface LinkOptions {
  /** Longest frame that is taken in bytes, 14 to 69632, which is the default and QEMU's limit. */
  readonly frameMax?: number;
  /**
   * Function that hears of events. What it throws, a timer throws once more. Without it a timer throws what a card
   * threw.
   */
  readonly onEvent?: (event: LinkEvent) => void;
}

/** Waiting times between attempts to connect: twice as many milliseconds after each, up to `max`. */
export interface ReconnectOptions {
  /** Milliseconds before the first attempt; default 1000. */
  readonly min?: number;
  /** Largest number of milliseconds between two attempts; default 30000. */
  readonly max?: number;
}

/** Length of the shortest frame in bytes: addresses and a type. */
export const FRAME_MIN = 14;
/** Length of the longest frame in bytes, by default and at all: what QEMU's net layer takes (`NET_BUFSIZE`). */
export const FRAME_MAX = 4096 + 65536;
