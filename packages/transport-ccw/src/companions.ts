import {
  array,
  bool,
  list,
  nullable,
  u8,
  u16,
  u32,
  u64,
  type ValueOf,
  type VMState,
  vmstate,
} from '@virtkit/vmstate';
import { channelSubsystemImage } from './subchannel.ts';

/** Channel report word that the guest has not fetched. */
const crwContainer = vmstate('s390_crw_container', 1).fields({ flags: u16, rsid: u16 });

/** I/O interrupt that the guest has not taken. */
const ioInterrupt = vmstate('qemu-s390-flic-io', 1).fields({
  /** Id of the subchannel. */
  id: u16,
  /** Number of the subchannel. */
  nr: u16,
  /** Interruption parameter of the subchannel. */
  parm: u32,
  /** Interruption subclass in bits 29 to 27; bit 31 = adapter interrupt. */
  word: u32,
});

/**
 * Largest number of interrupts that are read. The guest decides how many are pending; this many would need a megabyte.
 */
const LIST_LIMIT = 65_536;

/**
 * Section `s390_css` with the state of the channel subsystem. QEMU's own vmdesc of 7.2 has its size wrong; this is the
 * layout.
 */
export const s390Css = vmstate('s390_css', 1).fields({
  pendingCrws: list(crwContainer, LIST_LIMIT),
  seiPending: bool,
  doCrwMchk: bool,
  crwsLost: bool,
  maxCssid: u8,
  maxSsid: u8,
  chnmonActive: bool,
  chnmonArea: u64,
  /** Images of 256 channel subsystems, null where absent. */
  css: array(nullable(channelSubsystemImage), 256),
  defaultCssid: u8,
});

/** State of section `s390_css`. */
export type CssState = ValueOf<typeof s390Css>;

/** Subsection `qemu-s390-flic-full`, machines 9.1 and later. */
const flicFull = vmstate('qemu-s390-flic-full', 1)
  .fields({ pending: u32, serviceParam: u32 })
  /** Interrupts that wait, by subclass. */
  .fields({ io: array(list(ioInterrupt, LIST_LIMIT, 'qlist'), 8) });

const flicFields = vmstate<{ readonly ais: boolean }>('qemu-s390-flic', 1)
  .when((_state, { ais }) => ais, { simm: u8, nimm: u8 })
  .subsection('full', 'qemu-s390-flic-full', flicFull);

/** Type of the value that {@link s390Flic} decodes. */
export type FlicState = ValueOf<typeof flicFields>;

/** Section `qemu-s390-flic` with pending interrupts. The first two fields are there if the CPU model has AIS. */
export const s390Flic: VMState<FlicState, { readonly ais: boolean }> = flicFields;
