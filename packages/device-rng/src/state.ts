/** State of an entropy device, which is empty: requests that wait are in the ring. */
export type RngState = Readonly<Record<never, never>>;
