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
  /** ISC 0x3800, ENA 0x80, LM 0x60, MME 0x18, MP 4, TF 2, DNV 1. */
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
  /** MBFC 4, XMWME 2, CSENSE 1. */
  chars: u32,
});

/** Subchannel status word. QEMU `SCSW`. */
export const scsw = vmstate('s390_scsw', 1).fields({
  /** KEY 0xf000, S 0x800, ESWF 0x400, CC 0x300, FMT 0x80, PFCH 0x40, … */
  flags: u16,
  /** Function, activity and status control. */
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

/** A channel command, always in the shape of format 1. QEMU `CCW1`. */
export const ccw1 = vmstate('s390_ccw1', 1).fields({
  /** Command code. */
  cmdCode: u8,
  /** CD 0x80, CC 0x40, SLI 0x20, SKP 0x10, PCI 8, IDA 4, S 2, MIDA 1. */
  flags: u8,
  /** Bytes. */
  count: u16,
  /** Data address. */
  cda: u32,
});

/** A command information word. QEMU `CIW`. */
export const ciw = vmstate('s390_ciw', 1).fields({
  /** What the command is for. */
  type: u8,
  command: u8,
  /** Bytes that it transfers. */
  count: u16,
});

/** What SENSE ID answers. QEMU `SenseId`. */
export const senseId = vmstate('s390_sense_id', 1)
  .fields({
    /** Always 0xff. */
    reserved: u8,
    /** Control unit type: 0x3832 for virtio. */
    cuType: u16,
    /** Control unit model: the virtio device id. */
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
  /** KEY 0xf000, S 0x800, C 0x400, M 0x200, Y 0x100, F 0x80, P 0x40, I 0x20, A 0x10, U 8, B 4, H 2, T 1. */
  ctrl0: u16,
  /** Logical-path mask. */
  lpm: u8,
  /** L 0x80, D 0x40, X 1. */
  ctrl1: u8,
  /** Channel-program address. */
  cpa: u32,
});

/** A virtual subchannel. QEMU `SubchDev`. */
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
    /** Adapter interrupts are in use. */
    thinintActive: bool,
    /** What STORE SUBCHANNEL shows. */
    currStatus: schib,
    /** What SENSE shows. */
    senseData: buffer(32),
    /** Address of the current channel command. */
    channelProg: u64,
    /** The last channel command. */
    lastCmd: ccw1,
    /** `lastCmd` is a command of the program that runs. */
    lastCmdValid: bool,
    /** What SENSE ID shows. */
    id: senseId,
    /** Channel program of format 1. */
    ccwFmt1: bool,
    /** Commands without data in a row. */
    ccwNoDataCnt: u8,
  })
  // machines 2.10 and later
  .subsection('orb', 's390_subch_dev/orb', orb);

/** An indicator in guest memory; length 0 = not set. QEMU `IndAddr`. */
export const indicatorAddress = vmstate('s390_ind_addr', 1).fields({
  /** Bytes: 8 classic, 1 summary, else what the queues need. */
  len: refine(s32, (value) => value >= 0, '0 or more'),
  /** Guest address. */
  addr: u64,
});

/** Route of adapter interrupts. QEMU `AdapterInfo`. */
export const adapterInfo = vmstate('s390_adapter_info', 1)
  .fields({
    /** Bit of queue 0 in the indicators. */
    indOffset: u64,
  })
  // machines 2.10 and later
  // bit of the summary indicator
  .subsection('summaryOffset', 's390_adapter_info/summary_offset', u32);

/** `virtio_ccw_save_config`: vmsd `s390_virtio_ccw_dev`. */
export const ccwConfigState = vmstate('s390_virtio_ccw_dev', 1).fields({
  /** The subchannel. QEMU: `parent_obj.sch`. */
  sch: subchannel,
  /** Queue indicators. */
  indicators: indicatorAddress,
  /** Configuration change indicators. */
  indicators2: indicatorAddress,
  summaryIndicator: indicatorAddress,
  /** 0xffff none, 0x400 once a queue was set up. */
  configVector: u16,
  /** QEMU: `routes.adapter`. */
  adapter: adapterInfo,
  /** Interruption subclass of adapter interrupts. */
  thinintIsc: u8,
  /** Revision that the driver chose; -1 before it did. */
  revision: s32,
});

/** {@link ccwConfigState}'s value. */
export type CcwConfigState = ValueOf<typeof ccwConfigState>;

/** `virtio_ccw_save_queue`. */
export const ccwQueueState = vmstate('virtio_ccw_queue', 1).fields({
  /** Number of the queue once it is set up, else 0xffff. */
  vector: u16,
});

/** {@link ccwQueueState}'s value. */
export type CcwQueueState = ValueOf<typeof ccwQueueState>;

/** A channel path of the channel subsystem. */
export const channelPath = vmstate('s390_chp_info', 1).fields({ inUse: u8, type: u8, isVirtual: u8 });

/** 256 channel paths. */
export const channelSubsystemImage = vmstate('s390_css_img', 1).fields({ chpids: array(channelPath, 256) });

/** The state types of virtio over channel I/O. */
export interface CcwParts {
  /** What `save_config` writes: subchannel, indicators, revision. */
  readonly config: CcwConfigState;
  /** What `save_queue` writes: the queue's indicator. */
  readonly queue: CcwQueueState;
  /** Channel I/O has no extra state. */
  readonly extra: never;
}
