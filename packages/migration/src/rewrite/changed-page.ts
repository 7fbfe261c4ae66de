/** A page of RAM that is other than in the original stream. */
export interface ChangedPage {
  /** Name of the block of RAM: `pc.ram`. */
  readonly block: string;
  /** Offset in the block in bytes, a multiple of the page size. */
  readonly offset: number;
  /** All bytes of the page. */
  readonly bytes: Uint8Array;
}
