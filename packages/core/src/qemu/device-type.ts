import type { Field, Json } from '@virtkit/vmstate';
import type { DeviceLayer } from '../contract/device.ts';
import type { DeviceModel, RequestInFlight } from '../contract/device-model.ts';
import type { Finding } from '../contract/finding.ts';
import type { TransportParts, VirtioState } from '../contract/state.ts';
import type { FeatureTable } from './feature-control.ts';
import type { MachineOfQemu } from './machine.ts';
import type { Making, QemuDevice } from './making.ts';
import type { MessageRule } from './message.ts';
import type { Verdict } from './verdict.ts';

/**
 * A device type, whole: its saved state, its live device if there is one, and what QEMU's versions and options make of it. A
 * device package declares one as an entry of its own (`@virtkit/device-blk/type`), so that programs which only run the device do
 * not carry it. Everything about a device type that is not the device itself is in here: checks, conversions, explanations and
 * comparisons of streams go over a list of descriptors and know no type by its name.
 *
 * @typeParam D the device's part of the saved state
 * @typeParam I the options of the live device, but for what it is connected to
 * @typeParam O all options of the live device
 */
export interface DeviceType<D = unknown, I = unknown, O extends I = I> {
  /** The saved state. Its name, `virtio-blk`, is the name of the device type. */
  readonly layer: DeviceLayer<D>;
  /** Declarations of sections that the type has beside its own, by the last part of their names. */
  readonly sections?: Readonly<Record<string, Field<unknown>>>;
  /** Table of who decides over each of the type's features. Their names are the layer's. */
  readonly features: FeatureTable;
  /**
   * Are these offered features those of such a device? Asked for a set of features that was given without saying of
   * which device. Left out: never.
   */
  offersLike?(features: bigint): boolean;
  /** The live device; left out for types whose saved state alone is known. */
  readonly live?: LiveSide<D, I, O>;
  /** Description of how QEMU makes the device. */
  readonly qemu: QemuSide<D, I>;
  /** Rewritings of what some versions of QEMU do not read of a state. */
  readonly conversions?: readonly Conversion<D>[];
  /**
   * Checks what speaks against a state in the device that a QEMU makes, beyond transport, queues and what a live device
   * finds.
   */
  check?(state: VirtioState<TransportParts, D>, at: Destined): Verdict[];
  /** QEMU's words for the findings of a live device's `check`, by the finding's code. */
  readonly findings?: Readonly<Record<string, FindingWords>>;
  /** QEMU's messages about such devices. */
  readonly messages?: readonly MessageRule[];
  /** Fields that QEMU compares and tells by name when they differ, by QEMU's name: `max_queue_pairs`. */
  readonly equalFields?: Readonly<Record<string, EqualField>>;
  /** Rules for what differences in fields of the device's part mean; the first that fits is taken. */
  readonly differences?: readonly FieldRule[];
  /** Requests in flight, for types whose requests a host can execute for a guest that stands still. */
  readonly requests?: RequestSide<D>;
}

/** Device type that has a live device, not only a saved state. */
export interface LiveDeviceType<D, I, O extends I> extends DeviceType<D, I, O> {
  readonly live: LiveSide<D, I, O>;
}

/** Live side of a device type: makes a device, from options or from a state. */
export interface LiveSide<D, I, O extends I> {
  /**
   * Infers the options with which the device was made that has this state, as far as they have left a trace in it; the
   * others are QEMU's defaults, and do not show.
   */
  infer(state: VirtioState<TransportParts, D>): I;
  /** Makes the device. @throws HostError for options that contradict each other */
  make(options: O): DeviceModel<D>;
  /**
   * Completes options with a back end that holds nothing, for devices that are only asked. Default: of a small device.
   */
  unconnected(options?: I): O;
}

/** Description of how QEMU makes devices of a type. */
export interface QemuSide<D, I> {
  /**
   * Types of QEMU that have this type's section, without their transport, where they are not called like the section:
   * `virtio-serial` has the section `virtio-console`.
   */
  readonly drivers?: readonly string[];
  /** The name of the type on virtio's own bus, where that is not QEMU's usual `virtio-…-device`. */
  readonly busType?: string;
  /** Types of QEMU that have a section of their own around such a device: a GPU inside of `virtio-vga`. */
  readonly enclosedBy?: readonly string[];
  /**
   * Lists QEMU's types between a type and the common ones, nearest first: those that `-global` may name for a property.
   * @param suffix `pci`, `ccw` or `device`
   */
  parents?(type: string, suffix: string): readonly string[];
  /** The option beside `-device` that makes such a device: `-drive if=virtio`, `-nic model=virtio`, `-virtfs`. */
  readonly option?: 'drive' | 'nic' | 'virtfs';
  /** Properties of the type, beyond those of every virtio device, that decide something in a load. All that do are looked at. */
  readonly properties?: ReadonlySet<string>;
  /** Properties that decide nothing in a load: how the host does its work, what the guest reads of it, where it boots from. */
  readonly harmless?: ReadonlySet<string>;
  /** Entries of the ring that a queue is made with if no property says so. */
  queueSize(index: number, state: VirtioState<TransportParts, D>, at: QueueDefaults): number;
  /** Names the property with the size of a queue's ring; left out, or undefined for a queue: there is none. */
  sizeProperty?(index: number, count: number): string | undefined;
  /**
   * Lists the ring sizes of all queues that the destination makes, for types without a live device; undefined: as at
   * the source.
   */
  queues?(making: Making): readonly number[] | undefined;
  /** Description of the PCI function around the device. */
  readonly pci?: PciSide;
  /**
   * Derives the options of the live device that a QEMU makes: those of the source, but for what the command line and
   * the machine decide.
   */
  options?(inferred: I, making: Making, state: VirtioState<TransportParts, D>): I;
}

/** Facts that decide over defaults of queues. */
export interface QueueDefaults extends MachineOfQemu {
  /** Properties of the device that are given. */
  readonly properties: ReadonlyMap<string, string>;
}

/** Description of the PCI function around a device of a type. */
export interface PciSide {
  /** True if no legacy driver can use the type: it has the modern interface alone. */
  readonly modernOnly?: true;
  /** Class codes (24 bits) that tell apart the drivers of QEMU which have the same section. */
  readonly classes?: Readonly<Record<string, number>>;
  /**
   * Interrupt vectors of a function for which none are given. `before`: those of the source. Undefined: as many as the function
   * has by itself, one for each queue and one for the configuration, unless the machine's age says otherwise.
   */
  vectors?(making: Making, before: number | undefined, savedQueues: number): number | undefined;
}

/**
 * Rewrites the device's part of a state for a target that does not read it as it is, where that changes nothing that the guest sees.
 *
 * @param title how verdicts call the device
 * @returns what is to be written, and what speaks against loading what was given; undefined: nothing
 */
export interface Conversion<D> {
  /** Converts the device's part for a target; undefined: the state can stay as it is. */
  convert(title: string, device: D, to: MachineOfQemu): Rewritten<D> | undefined;
}

/** Result of a {@link Conversion}. */
export interface Rewritten<D> {
  /** The device's part as the target reads it, if the verdict is `convertible`; else as it was. */
  readonly device: D;
  /** Verdict that says what was rewritten, or why it cannot be. */
  readonly verdict: Verdict;
}

/** Saved state together with the place that it goes to. */
export interface Destined {
  /** Name by which verdicts call the device: `virtio-blk@0000:00:02.0`. */
  readonly title: string;
  /** Name of the section: `0000:00:02.0/virtio-blk`. */
  readonly section: string;
  /** Description of how the destination makes the device. */
  readonly making: Making;
  /** Live device that the destination would have, where the type has one. */
  readonly model: DeviceModel | undefined;
  /** The destination's devices inside of this one, such as a console's ports; undefined: not known. */
  readonly inside: readonly QemuDevice[] | undefined;
  /** Fields that the section has behind the `virtio` field, by name. */
  readonly rest: Json | undefined;
  /** Finds the body of another section of the same device, by the last part of its name. */
  sectionOf(name: string): Uint8Array | undefined;
}

/** Words with which QEMU tells of something that a live device finds. */
export interface FindingWords {
  /** Writes the line that QEMU prints. */
  says?(facts: Finding['facts']): string;
  /** Property of QEMU that decides. */
  readonly property?: string;
  /** Place in the specification. */
  readonly spec?: string;
  /**
   * Code of a verdict of {@link DeviceType.check} that says more about the same matter: where that verdict is given,
   * the finding is left out.
   */
  readonly toldBy?: string;
}

/** Field that must be equal on both sides of a migration. */
export interface EqualField {
  /** Beginning of a sentence that says what differs: `The numbers of queue pairs differ`. */
  readonly differs: string;
  /** List of what to change; left out: the device properties. */
  readonly advice?: readonly string[];
}

/**
 * Weight of a difference: does it decide whether a stream like A loads where a stream like B comes from? `refused`: the
 * load fails. `may-refuse`: it depends on what the stream does not tell. `state`: the value is the guest's, and loads.
 */
export type Weight = 'refused' | 'may-refuse' | 'state';

/** Rule for what a difference in a field means for a load of A where B was written. */
export interface FieldRule {
  /** Pattern of the field's path in the state: `device.maxQueuePairs`. */
  readonly pattern: RegExp;
  /** Weight of the difference. */
  readonly weight: Weight;
  /** Reason, and what decides; empty for `state`. */
  readonly reason: string;
  /** Does the rule hold for these values? Undefined: the field is not there. */
  when(a: Json | undefined, b: Json | undefined): boolean;
}

/** Operations on a device type's requests in flight. */
export interface RequestSide<D> {
  /** Lists the requests of a state, in its order. */
  list(state: VirtioState<TransportParts, D>): readonly RequestInFlight[];
  /** Leaves of the device's part only the requests with these numbers of {@link list}. */
  keep(device: D, numbers: readonly number[]): D;
  /** Joins the requests of another device's part behind those of this one. */
  join(device: D, more: D): D;
  /** Finds the guest address of the byte in which a request is answered; undefined: it has none. */
  answerAt(request: RequestInFlight): bigint | undefined;
  /** Does an answer, the byte at {@link answerAt}, say that the host has failed? */
  hasFailed(answer: number): boolean;
  /**
   * Demands that what is behind the device is what the guest knows.
   * @throws StateError without a path
   */
  demandSame?(
    state: VirtioState<TransportParts, D>,
    model: DeviceModel<D>,
    options: { readonly littleEndian: boolean; readonly larger: boolean },
  ): void;
}
