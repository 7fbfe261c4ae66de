/** Page of RAM whose bytes differ from those in the original stream. */
export interface ChangedPage {
  /** Name of the block of RAM: `pc.ram`. */
  readonly block: string;
  /** Offset in the block in bytes, a multiple of the page size. */
  readonly offset: number;
  /** Bytes of the whole page. */
  readonly bytes: Uint8Array;
}
