import { ALWAYS_OFFERED, type FeatureTable } from '@virtkit/core/qemu';

const SPEC = 'Virtio 1.3 §5.1.3';
const VNET_HEADER = 'a back end with a virtio-net header (tap, vhost); user and socket back ends have none';

/** QEMU and machine version with which UDP segmentation offload came. */
export const USO_SINCE = '8.2';
const USO = { machine: USO_SINCE, qemu: USO_SINCE, kernel: '6.2', spec: SPEC };
const TUNNEL = {
  machine: '10.2',
  qemu: '10.2',
  kernel: '6.17',
  needs: 'a tap whose kernel has UDP tunnel GSO',
  spec: SPEC,
};

/**
 * Table of who decides over the features of a network card. Read from `-device virtio-net-pci,help` of QEMU 5.2 to
 * 11.1.
 */
export const netFeatureTable: FeatureTable = {
  0: { property: 'csum', needs: VNET_HEADER, spec: SPEC },
  1: { property: 'guest_csum', needs: VNET_HEADER, spec: SPEC },
  2: { property: 'ctrl_guest_offloads', spec: SPEC },
  3: { property: 'host_mtu', needs: 'a value other than 0', spec: SPEC },
  5: { needs: ALWAYS_OFFERED, spec: SPEC },
  6: { property: 'gso', needs: VNET_HEADER, spec: 'Virtio 1.3 §5.1.3.3 (legacy)' },
  7: { property: 'guest_tso4', needs: VNET_HEADER, spec: SPEC },
  8: { property: 'guest_tso6', needs: VNET_HEADER, spec: SPEC },
  9: { property: 'guest_ecn', needs: VNET_HEADER, spec: SPEC },
  10: { property: 'guest_ufo', needs: 'a back end that takes UFO packets', spec: SPEC },
  11: { property: 'host_tso4', needs: VNET_HEADER, spec: SPEC },
  12: { property: 'host_tso6', needs: VNET_HEADER, spec: SPEC },
  13: { property: 'host_ecn', needs: VNET_HEADER, spec: SPEC },
  14: { property: 'host_ufo', needs: 'a back end that takes UFO packets', spec: SPEC },
  15: { property: 'mrg_rxbuf', spec: SPEC },
  16: { property: 'status', spec: SPEC },
  17: { property: 'ctrl_vq', spec: SPEC },
  18: { property: 'ctrl_rx', spec: SPEC },
  19: { property: 'ctrl_vlan', spec: SPEC },
  20: { property: 'ctrl_rx_extra', spec: SPEC },
  21: { property: 'guest_announce', spec: SPEC },
  22: { property: 'mq', needs: 'a back end with several queues (tap: queues=N)', spec: SPEC },
  23: { property: 'ctrl_mac_addr', spec: SPEC },
  54: { property: 'guest_uso4', ...USO, needs: 'a tap whose kernel has TUN_F_USO4 (Linux 6.2)' },
  55: { property: 'guest_uso6', ...USO, needs: 'a tap whose kernel has TUN_F_USO6 (Linux 6.2)' },
  56: { property: 'host_uso', ...USO, needs: 'a tap whose kernel has TUN_F_USO4 and 6 (Linux 6.2)' },
  57: { property: 'hash', qemu: '5.1', spec: SPEC },
  60: { property: 'rss', qemu: '5.1', spec: SPEC },
  61: { property: 'guest_rsc_ext', spec: SPEC },
  62: { property: 'failover', spec: SPEC },
  63: { property: 'speed or duplex', needs: 'one of them set', spec: SPEC },
  65: { property: 'guest_tunnel', ...TUNNEL },
  66: { property: 'guest_tunnel_csum', ...TUNNEL },
  67: { property: 'host_tunnel', ...TUNNEL },
  68: { property: 'host_tunnel_csum', ...TUNNEL },
};
