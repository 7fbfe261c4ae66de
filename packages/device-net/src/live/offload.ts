/** Bits of offloads as small numbers, so that a packet's header is checked without bigints. */
export const OFFLOAD = {
  CSUM: 1,
  TSO4: 2,
  TSO6: 4,
  ECN: 8,
  UFO: 16,
  USO: 32,
  TUNNEL: 64,
  TUNNEL_CSUM: 128,
} as const;
