/** An entropy device has nothing of its own in a saved state: requests that wait are in the ring. */
export type RngState = Readonly<Record<never, never>>;
