/** Offsets of the fields in the header of configuration space, in bytes; END: where the header ends. PCI 3.0 §6.1 */
export const PCI_HEADER = {
  VENDOR_ID: 0x00,
  DEVICE_ID: 0x02,
  COMMAND: 0x04,
  STATUS: 0x06,
  REVISION_ID: 0x08,
  CLASS: 0x09,
  CACHE_LINE_SIZE: 0x0c,
  HEADER_TYPE: 0x0e,
  BAR0: 0x10,
  SUBSYSTEM_VENDOR_ID: 0x2c,
  SUBSYSTEM_ID: 0x2e,
  ROM: 0x30,
  CAPABILITIES: 0x34,
  INTERRUPT_LINE: 0x3c,
  INTERRUPT_PIN: 0x3d,
  END: 0x40,
} as const;

/** Offset of the list of extended capabilities, in the configuration space of a PCI Express function. PCIe 2.1 §7.9 */
export const EXTENDED_CAPABILITIES = 0x100;
