import {
  array,
  bool,
  buffer,
  refine,
  s32,
  sparseArray,
  u8,
  u16,
  u32,
  u64,
  type ValueOf,
  vmstate,
} from '@virtkit/vmstate';

/** Path management control word of a subchannel. Principles of Operation, chapter 15; QEMU `PMCW`. */
export const pmcw = vmstate('s390_pmcw', 1).fields({
  /** Interruption parameter. */
  intparm: u32,
  /** Flags of the subchannel: ISC 0x3800, ENA 0x80, LM 0x60, MME 0x18, MP 4, TF 2, DNV 1. */
  flags: u16,
  /** Device number. */
  devno: u16,
  /** Logical-path mask. */
  lpm: u8,
  /** Path-not-operational mask. */
  pnom: u8,
  /** Last-path-used mask. */
  lpum: u8,
  /** Path-installed mask. */
  pim: u8,
  /** Measurement-block index. */
  mbi: u16,
  /** Path-operational mask. */
  pom: u8,
  /** Path-available mask. */
  pam: u8,
  /** Channel-path ids. */
  chpid: buffer(8),
  /** Characteristics of the subchannel: MBFC 4, XMWME 2, CSENSE 1. */
  chars: u32,
});

/** Subchannel status word. QEMU `SCSW`. */
export const scsw = vmstate('s390_scsw', 1).fields({
  /** Flags of the status: KEY 0xf000, S 0x800, ESWF 0x400, CC 0x300, FMT 0x80, PFCH 0x40, … */
  flags: u16,
  /** Bits of function, activity and status control. */
  ctrl: u16,
  /** Address of the channel command behind the last one executed. */
  cpa: u32,
  /** Device status. */
  dstat: u8,
  /** Subchannel status. */
  cstat: u8,
  /** Residual count. */
  count: u16,
});

/** Subchannel information block. QEMU `SCHIB`. */
export const schib = vmstate('s390_schib', 1).fields({
  pmcw,
  scsw,
  /** Measurement-block address. */
  mba: u64,
  /** Model-dependent area. */
  mda: buffer(4),
});

/** Channel command, always in the shape of format 1. QEMU `CCW1`. */
export const ccw1 = vmstate('s390_ccw1', 1).fields({
  /** Command code. */
  cmdCode: u8,
  /** Flags of the command: CD 0x80, CC 0x40, SLI 0x20, SKP 0x10, PCI 8, IDA 4, S 2, MIDA 1. */
  flags: u8,
  /** Number of bytes that the command moves. */
  count: u16,
  /** Data address. */
  cda: u32,
});

/** Command information word, which SENSE ID tells of a command. QEMU `CIW`. */
export const ciw = vmstate('s390_ciw', 1).fields({
  /** Kind of the command: what it is for. */
  type: u8,
  command: u8,
  /** Number of bytes that the command transfers. */
  count: u16,
});

/** Answer to SENSE ID. QEMU `SenseId`. */
export const senseId = vmstate('s390_sense_id', 1)
  .fields({
    /** Byte that is always 0xff. */
    reserved: u8,
    /** Type of the control unit: 0x3832 for virtio. */
    cuType: u16,
    /** Model of the control unit: the virtio device id. */
    cuModel: u8,
    /** Device type. */
    devType: u16,
    /** Device model. */
    devModel: u8,
  })
  .fields({
    unused: u8,
    /** Command information words up to the last one in use. */
    ciw: sparseArray(ciw, 62, new Uint8Array(4)),
  });

/** Operation-request block. QEMU `ORB`. */
export const orb = vmstate('s390_subch_dev/orb', 1).fields({
  /** Interruption parameter. */
  intparm: u32,
  /**
   * Flags of the first control halfword: KEY 0xf000, S 0x800, C 0x400, M 0x200, Y 0x100, F 0x80, P 0x40, I 0x20, A
   * 0x10, U 8, B 4, H 2, T 1.
   */
  ctrl0: u16,
  /** Logical-path mask. */
  lpm: u8,
  /** Flags of the last control byte: L 0x80, D 0x40, X 1. */
  ctrl1: u8,
  /** Channel-program address. */
  cpa: u32,
});

/** Virtual subchannel. QEMU `SubchDev`. */
export const subchannel = vmstate('s390_subch_dev', 1)
  .fields({
    /** Channel subsystem id, 0xfe for virtual ones. */
    cssid: u8,
    /** Subchannel set id. */
    ssid: u8,
    /** Subchannel number. */
    migratedSchid: u16,
    /** Device number. */
    devno: u16,
    /** True if adapter interrupts are in use. */
    thinintActive: bool,
    /** Information block that STORE SUBCHANNEL shows. */
    currStatus: schib,
    /** Sense data that SENSE shows. */
    senseData: buffer(32),
    /** Address of the current channel command. */
    channelProg: u64,
    /** Channel command that was executed last. */
    lastCmd: ccw1,
    /** True if `lastCmd` is a command of the program that runs. */
    lastCmdValid: bool,
    /** Answer to SENSE ID. */
    id: senseId,
    /** True if the channel program has format 1. */
    ccwFmt1: bool,
    /** Number of commands without data in a row. */
    ccwNoDataCnt: u8,
  })
  // machines 2.10 and later
  .subsection('orb', 's390_subch_dev/orb', orb);

/** Address of an indicator in guest memory; length 0: not set. QEMU `IndAddr`. */
export const indicatorAddress = vmstate('s390_ind_addr', 1).fields({
  /** Length of the indicator in bytes: 8 classic, 1 summary, else what the queues need. */
  len: refine(s32, (value) => value >= 0, '0 or more'),
  /** Guest address of the indicator. */
  addr: u64,
});

/** Route of adapter interrupts. QEMU `AdapterInfo`. */
export const adapterInfo = vmstate('s390_adapter_info', 1)
  .fields({
    /** Number of the bit of queue 0 in the indicators. */
    indOffset: u64,
  })
  // machines 2.10 and later
  // bit of the summary indicator
  .subsection('summaryOffset', 's390_adapter_info/summary_offset', u32);

/** Structure `s390_virtio_ccw_dev`, which QEMU's `virtio_ccw_save_config` writes. */
export const ccwConfigState = vmstate('s390_virtio_ccw_dev', 1).fields({
  /** State of the subchannel. QEMU: `parent_obj.sch`. */
  sch: subchannel,
  /** Address of the queue indicators. */
  indicators: indicatorAddress,
  /** Address of the configuration change indicators. */
  indicators2: indicatorAddress,
  summaryIndicator: indicatorAddress,
  /** Vector of configuration changes: 0xffff none, 0x400 once a queue was set up. */
  configVector: u16,
  /** Route of adapter interrupts. QEMU: `routes.adapter`. */
  adapter: adapterInfo,
  /** Interruption subclass of adapter interrupts. */
  thinintIsc: u8,
  /** Revision that the driver chose; -1 before it did. */
  revision: s32,
});

/** Type of the value that {@link ccwConfigState} decodes. */
export type CcwConfigState = ValueOf<typeof ccwConfigState>;

/** Structure that QEMU's `virtio_ccw_save_queue` writes. */
export const ccwQueueState = vmstate('virtio_ccw_queue', 1).fields({
  /** Number of the queue once it is set up, else 0xffff. */
  vector: u16,
});

/** Type of the value that {@link ccwQueueState} decodes. */
export type CcwQueueState = ValueOf<typeof ccwQueueState>;

/** Channel path of the channel subsystem. */
export const channelPath = vmstate('s390_chp_info', 1).fields({ inUse: u8, type: u8, isVirtual: u8 });

/** Image of a channel subsystem with its 256 channel paths. */
export const channelSubsystemImage = vmstate('s390_css_img', 1).fields({ chpids: array(channelPath, 256) });

/** State types of virtio over channel I/O. */
export interface CcwParts {
  /** Part that QEMU's `save_config` writes: subchannel, indicators, revision. */
  readonly config: CcwConfigState;
  /** Part that QEMU's `save_queue` writes: the queue's indicator. */
  readonly queue: CcwQueueState;
  /** Extra state, which channel I/O does not have. */
  readonly extra: never;
}
