/** Addresses that fit the filter table. QEMU `MAC_TABLE_ENTRIES`. */
export const MAC_TABLE_ENTRIES = 64;
/** Bytes of the VLAN filter: 4096 bits. */
export const VLAN_BYTES = 512;
