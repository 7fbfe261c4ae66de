/** Device type of QEMU that is not virtio, as far as a load depends on it. */
export interface OtherDevice {
  /**
   * Bus that the device goes to; `none`: its section has no place in its name, and several are told apart by their
   * number.
   */
  readonly bus: 'pci' | 'usb' | 'scsi' | 'none';
  /**
   * Last part of the name of the device's section, which is QEMU's name of the `VMStateDescription`; undefined: it has
   * no section.
   */
  readonly section: string | undefined;
  /** Vendor and device of a PCI function: `1b36:000d`. */
  readonly pci?: string;
  /** Class and subclass of a PCI function whose type shares its identity with another: `0300`. */
  readonly classCode?: string;
}

/**
 * Rows of bus, section and the types that have it, with the PCI identity behind a type where others have the same section. From
 * `-dump-vmstate` and `info qtree` of QEMU 5.2, 7.2, 10.0 and 11.1.
 */
const ROWS = `
pci ac97 AC97
pci es1370 ES1370
pci intel-hda intel-hda/8086:2668 ich9-intel-hda/8086:293e
pci vga VGA/1234:1111/0300 secondary-vga/1234:1111/0380
pci bochs-display bochs-display
pci cirrus_vga cirrus-vga
pci qxl qxl qxl-vga
pci vmware_vga vmware-svga
pci virtio-vga virtio-vga virtio-vga-gl
pci e1000 e1000/8086:100e e1000-82540em/8086:100e e1000-82544gc/8086:100c e1000-82545em/8086:100f
pci e1000e e1000e
pci igb igb
pci rtl8139 rtl8139
pci pcnet pcnet
pci ne2000 ne2k_pci
pci vmxnet3 vmxnet3
pci tulip tulip
pci i82557a i82557a
pci i82557b i82557b
pci i82557c i82557c
pci i82558a i82558a
pci i82558b i82558b
pci i82559a i82559a
pci i82559b i82559b
pci i82559c i82559c
pci i82559er i82559er
pci i82550 i82550
pci i82551 i82551
pci i82562 i82562
pci i82801 i82801
pci i6300esb_wdt i6300esb
pci pciespscsi am53c974 dc390
pci lsiscsi lsi53c810/1000:0001 lsi53c895a/1000:0012
pci megasas megasas
pci megasas-gen2 megasas-gen2
pci mptsas mptsas1068
pci pvscsi pvscsi
pci ich9_ahci ich9-ahci
pci ide piix3-ide piix4-ide
pci sdhci sdhci-pci
pci pci-serial pci-serial
pci pci-serial-multi pci-serial-2x/1b36:0003 pci-serial-4x/1b36:0004
pci pvpanic-pci pvpanic-pci
pci ivshmem-plain ivshmem-plain
pci ivshmem-doorbell ivshmem-doorbell
pci acpi-erst acpi-erst
pci nvme nvme
pci ipmi-interface-pci-bt pci-ipmi-bt
pci ipmi-interface-pci-kcs pci-ipmi-kcs
pci uhci piix3-usb-uhci/8086:7020 piix4-usb-uhci/8086:7112 vt82c686b-usb-uhci/1106:3038 ich9-usb-uhci1/8086:2934 ich9-usb-uhci2/8086:2935 ich9-usb-uhci3/8086:2936 ich9-usb-uhci4/8086:2937 ich9-usb-uhci5/8086:2938 ich9-usb-uhci6/8086:2939
pci ehci usb-ehci/8086:24cd ich9-usb-ehci1/8086:293a ich9-usb-ehci2/8086:293c
pci ohci pci-ohci
pci xhci qemu-xhci/1b36:000d nec-usb-xhci/1033:0194
pci pcie-root-port pcie-root-port
pci ioh-3240-express-root-port ioh3420
pci pci_bridge pci-bridge pci-bridge-seat
pci pcie-pci-bridge pcie-pci-bridge
pci i82801b11_bridge i82801b11-bridge
pci xio3130-express-upstream-port x3130-upstream
pci xio3130-express-downstream-port xio3130-downstream
pci - ati-vga pci-testdev edu pxb pxb-pcie
usb usb-ptr usb-tablet usb-mouse
usb usb-kbd usb-kbd
usb usb-hub usb-hub
usb usb-storage usb-storage usb-bot
usb usb-uas usb-uas
usb usb-audio usb-audio
usb usb-serial usb-serial usb-braille
usb usb-net usb-net
usb usb-redir usb-redir
usb usb-host usb-host
usb usb-ccid usb-ccid
usb usb-mtp usb-mtp
usb usb-wacom usb-wacom-tablet
usb u2f-key-passthru u2f-passthru
scsi scsi-disk scsi-hd scsi-cd scsi-disk scsi-block
scsi SCSIDevice scsi-generic
none hda-audio hda-duplex hda-micro hda-output
none serial isa-serial
none parallel_isa isa-parallel
none fdc isa-fdc
none vga isa-vga
none ib700_wdt ib700
none vmcoreinfo vmcoreinfo
none vmgenid vmgenid
none vmclock vmclock
none ramfb-dev ramfb
none iommu-intel intel-iommu
none amd-iommu amd-iommu
none tpm-tis tpm-tis tpm-tis-device
none tpm-crb tpm-crb
none cs4231a cs4231a
none gus gus
none ne2000 ne2k_isa
none sb16 sb16
none ipmi-bmc-sim ipmi-bmc-sim
none ipmi-bmc-extern ipmi-bmc-extern
none ipmi-interface isa-ipmi-kcs
none ipmi-interface-isa-bt isa-ipmi-bt
none vmstate_diag288 diag288
none sclpconsole sclpconsole
none sclplmconsole sclplmconsole
none - ide-hd ide-cd ide-cf ide-drive floppy pvpanic isa-debugcon isa-debug-exit sga loader guest-loader pc-dimm nvdimm isa-applesmc isa-ide pc-testdev
`;

const TABLE: ReadonlyMap<string, OtherDevice> = new Map(
  ROWS.trim()
    .split('\n')
    .flatMap((row) => {
      const [bus, section, ...types] = row.split(' ');
      return types.map((text) => {
        const [type = '', pci, classCode] = text.split('/');
        const where = bus === 'pci' || bus === 'usb' || bus === 'scsi' ? bus : 'none';
        return [
          type,
          {
            bus: where,
            section: section === '-' ? undefined : section,
            ...(pci !== undefined && { pci }),
            ...(classCode !== undefined && { classCode }),
          },
        ] as const;
      });
    }),
);

/** Finds what is known of a type that is not virtio; undefined: nothing. */
export function otherDevice(driver: string): OtherDevice | undefined {
  return TABLE.get(driver);
}

/** Lists the names of the types with that section, on that kind of bus. */
export function otherTypes(section: string): readonly string[] {
  return [...TABLE].filter(([, row]) => row.section === section).map(([type]) => type);
}
