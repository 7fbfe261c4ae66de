/** Number of addresses that fit the filter table. QEMU: `MAC_TABLE_ENTRIES`. */
export const MAC_TABLE_ENTRIES = 64;
/** Length of the VLAN filter in bytes: 4096 bits. */
export const VLAN_BYTES = 512;
