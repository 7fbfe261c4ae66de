import { type Gpa, type GuestMemory, QUEUE_MAX } from '@virtkit/core/live';
import type { ValueOf } from '@virtkit/vmstate';
import type { ChannelHost } from '../channel/host.ts';
import type { Subchannel } from '../channel/subchannel.ts';
import type { CcwConfigState, indicatorAddress } from '../subchannel.ts';

/** Address of an indicator in guest memory; length 0: not set. QEMU: `IndAddr`. */
export type IndicatorAddress = ValueOf<typeof indicatorAddress>;

/** Number that stands for "no vector" where a queue number is expected. */
export const NO_VECTOR = 0xffff;
/** Vector of configuration changes: the number behind the last queue. */
export const CONFIG_VECTOR = QUEUE_MAX;
/** Number of queues that classic indicators have bits for. */
export const CLASSIC_QUEUES = 64;

const NOT_SET: IndicatorAddress = { len: 0, addr: 0n };
/** Largest length in bytes that the saved state can say. */
const LENGTH_MAX = 0x7fff_ffff;

/** Area for adapter interrupts, as SET_IND_ADAPTER says it. */
export interface AdapterIndicators {
  /** Guest address of the summary indicator, which is a byte. */
  readonly summary: bigint;
  /** Guest address of the indicators, which are bits. */
  readonly indicators: bigint;
  /** Number of the bit of queue 0, counted from the left of the first byte. */
  readonly bit: bigint;
  /** Interruption subclass, 0 to 7. */
  readonly isc: number;
}

/**
 * Indicators of a device, which tell the driver of used buffers and of configuration changes: bits in guest memory, and
 * an interrupt. Virtio 1.3 §4.3.3.1; QEMU `virtio_ccw_notify`.
 */
export class Indicators {
  /** Vector of configuration changes. QEMU: `config_vector`. */
  configVector: number = NO_VECTOR;
  /** Vectors by number of the queue. */
  readonly vectors: Uint16Array = new Uint16Array(QUEUE_MAX).fill(NO_VECTOR);
  #queues: IndicatorAddress = NOT_SET;
  #config: IndicatorAddress = NOT_SET;
  #summary: IndicatorAddress = NOT_SET;
  #indOffset = 0n;
  #summaryOffset = 0;
  #isc = 0;
  // where the bits are, in numbers: what a notification needs
  #queueByte = -1;
  #queueBit = 0;
  #summaryByte = -1;
  readonly #memory: GuestMemory;
  readonly #subchannel: Subchannel;
  readonly #host: ChannelHost;

  constructor(memory: GuestMemory, subchannel: Subchannel, host: ChannelHost) {
    this.#memory = memory;
    this.#subchannel = subchannel;
    this.#host = host;
  }

  /** Are queue indicators set, classic or for adapter interrupts? */
  get queuesSet(): boolean {
    return this.#queues.len !== 0;
  }

  /** Sets the classic queue indicators, by SET_IND. */
  setClassic(addr: bigint): void {
    this.#queues = this.#area(addr, 8);
    this.#locate();
  }

  /** Sets the configuration indicators, by SET_CONF_IND. */
  setConfig(addr: bigint): void {
    this.#config = this.#area(addr, 8);
  }

  /** Sets the area for adapter interrupts, by SET_IND_ADAPTER. Answers false if the area has no place in any memory. */
  setAdapter({ summary, indicators, bit, isc }: AdapterIndicators): boolean {
    const length = bit / 8n + 1n;
    if (length > LENGTH_MAX) return false;
    this.#summary = this.#area(summary, 1);
    this.#queues = this.#area(indicators, Number(length));
    this.#isc = isc;
    this.#indOffset = bit;
    this.#summaryOffset = 7;
    this.#subchannel.thinintActive = true;
    this.#locate();
    return true;
  }

  /**
   * Forgets the indicators after a virtio reset. The route of adapter interrupts is forgotten with its addresses, and
   * still saved.
   */
  drop(): void {
    this.#queues = NOT_SET;
    this.#config = NOT_SET;
    this.#summary = NOT_SET;
    this.configVector = NO_VECTOR;
    this.vectors.fill(NO_VECTOR);
    this.#subchannel.thinintActive = false;
    this.#locate();
  }

  /**
   * Tells the driver of used buffers in a queue (its vector), or of a configuration change. Answers false if there is
   * no memory where the driver wants its bit.
   */
  notify(vector: number): boolean {
    if (vector === CONFIG_VECTOR) return this.#config.len === 0 || this.#setClassic(this.#config.addr, 0);
    if (vector > CONFIG_VECTOR || this.#queues.len === 0) return true;
    if (!this.#subchannel.thinintActive) {
      return vector >= CLASSIC_QUEUES || this.#setClassic(this.#queues.addr, vector);
    }
    const bit = this.#queueBit + vector;
    const found = this.#setBits((this.#queueByte + (bit >> 3)) as Gpa, 0x80 >> (bit & 7)) >= 0;
    const before = this.#setBits(this.#summaryByte as Gpa, 1);
    // Virtio 1.3 §4.3.3.1.2.1 SHOULD: an interrupt only if the summary indicator had not been set
    if (before === 0) this.#host.adapterInterrupt(this.#isc);
    return found && before >= 0;
  }

  /** Sets a bit of a big-endian 64-bit indicator, and makes the subchannel status pending. */
  #setClassic(addr: bigint, bit: number): boolean {
    const found = this.#setBits((Number(addr) + 7 - (bit >> 3)) as Gpa, 1 << (bit & 7)) >= 0;
    // Virtio 1.3 §4.3.3.1.1: an unsolicited interrupt, if none is pending for the subchannel
    this.#subchannel.alert();
    return found;
  }

  /** Sets bits of a byte, and answers what it was; -1 where there is no memory. The driver clears bits at the same time. */
  #setBits(gpa: Gpa, bits: number): number {
    const memory = this.#memory;
    if (memory.orU8 !== undefined) return memory.orU8(gpa, bits);
    const before = memory.readU8(gpa);
    return before >= 0 && memory.writeU8(gpa, before | bits) ? before : -1;
  }

  #area(addr: bigint, len: number): IndicatorAddress {
    return { len: this.#host.indicatorLength?.(addr) ?? len, addr };
  }

  #locate(): void {
    this.#queueByte = Number(BigInt.asUintN(64, this.#queues.addr + this.#indOffset / 8n));
    this.#queueBit = Number(this.#indOffset % 8n);
    this.#summaryByte = Number(this.#summary.addr);
  }

  /** Lists the addresses that are set, for whoever looks for shared ones. */
  *areas(): Generator<IndicatorAddress> {
    for (const area of [this.#queues, this.#config, this.#summary]) if (area.len !== 0) yield area;
  }

  /** Takes the indicators' part of the saved state. Without `withSummaryOffset`: as machines before 2.10 wrote it. */
  capture(
    withSummaryOffset: boolean,
  ): Pick<
    CcwConfigState,
    'indicators' | 'indicators2' | 'summaryIndicator' | 'configVector' | 'adapter' | 'thinintIsc'
  > {
    return {
      indicators: this.#queues,
      indicators2: this.#config,
      summaryIndicator: this.#summary,
      configVector: this.configVector,
      adapter: {
        indOffset: this.#indOffset,
        ...(withSummaryOffset && { summaryOffset: this.#summaryOffset }),
      },
      thinintIsc: this.#isc,
    };
  }

  /** Takes over saved addresses and vectors. */
  restore(state: CcwConfigState): void {
    this.#queues = state.indicators;
    this.#config = state.indicators2;
    this.#summary = state.summaryIndicator;
    this.configVector = state.configVector;
    this.#indOffset = state.adapter.indOffset;
    this.#summaryOffset = state.adapter.summaryOffset ?? 0;
    this.#isc = state.thinintIsc;
    this.#locate();
  }
}
