import { bits, F_ANY_LAYOUT } from '../spec.ts';

/** Feature bits of a network card. Virtio 1.3 §5.1.3 */
export const NET_F = {
  CSUM: 0,
  GUEST_CSUM: 1,
  CTRL_GUEST_OFFLOADS: 2,
  MTU: 3,
  MAC: 5,
  GUEST_TSO4: 7,
  GUEST_TSO6: 8,
  GUEST_ECN: 9,
  GUEST_UFO: 10,
  HOST_TSO4: 11,
  HOST_TSO6: 12,
  HOST_ECN: 13,
  HOST_UFO: 14,
  MRG_RXBUF: 15,
  STATUS: 16,
  CTRL_VQ: 17,
  CTRL_RX: 18,
  CTRL_VLAN: 19,
  CTRL_RX_EXTRA: 20,
  GUEST_ANNOUNCE: 21,
  MQ: 22,
  CTRL_MAC_ADDR: 23,
  NOTF_COAL: 53,
  HASH_REPORT: 57,
  RSS: 60,
  SPEED_DUPLEX: 63,
} as const;

/**
 * Features that the driver takes unless it is told otherwise: everything that does not make buffers larger or change
 * the header beyond MRG_RXBUF.
 */
export const NET_DRIVER_FEATURES: bigint = bits(
  NET_F.MTU,
  NET_F.MAC,
  NET_F.MRG_RXBUF,
  NET_F.STATUS,
  NET_F.CTRL_VQ,
  NET_F.CTRL_RX,
  NET_F.CTRL_VLAN,
  NET_F.CTRL_RX_EXTRA,
  NET_F.GUEST_ANNOUNCE,
  NET_F.MQ,
  NET_F.CTRL_MAC_ADDR,
  NET_F.SPEED_DUPLEX,
  F_ANY_LAYOUT,
);
