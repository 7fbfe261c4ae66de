import type { Field, Json, Reader } from '@virtkit/vmstate';
import type { Report } from './finding.ts';
import type { TransportParts, VirtioState } from './state.ts';
import type { ContractVersion } from './version.ts';

/** Answer of a transport that was shown the first bytes of a virtio section's body. */
export interface Recognition {
  /** `certain`: an identity was found. `possible`: nothing speaks against it. */
  readonly confidence: 'certain' | 'possible';
  /** Virtio device id (1 network card, 2 block device, …) where the transport's state tells it. */
  readonly virtioId?: number;
}

/**
 * A transport's name and rules: as much of its {@link TransportLayer} as a live device needs, without the format of its state.
 */
export interface TransportIdentity<T extends TransportParts = TransportParts> {
  /** The contract that the transport was written for; core refuses any other. */
  readonly contract: ContractVersion;
  /** `pci`, `ccw`, `mmio`, … */
  readonly name: string;
  /** True if the driver chooses the ring alignment: core then saves `vring.align`. QEMU: `has_variable_vring_alignment`. */
  readonly hasVariableVringAlignment: boolean;
  /** Reports what the transport's fields promise each other and do not keep. */
  check?(state: VirtioState<T>, report: Report): void;
}

/**
 * A transport's side of a virtio device's saved state. Everything is data: each callback of QEMU's `VirtioBusClass`
 * (`save_config`/`load_config`, `save_queue`/`load_queue`, `save_extra_state`/`load_extra_state`) is one field,
 * whose `encode` saves and whose `decode` loads.
 */
export interface TransportLayer<T extends TransportParts = TransportParts> extends TransportIdentity<T> {
  /** Could a body that begins here be of this transport? Must not throw, must not move the reader. */
  recognize(input: Reader): Recognition | undefined;
  /** Field that QEMU's `save_config` and `load_config` write and read. */
  readonly config: Field<T['config']>;
  /**
   * Field that QEMU's `save_queue` and `load_queue` write and read for each queue; its layout may depend on the
   * configuration (PCI: a vector only with MSI-X).
   */
  queue(config: T['config']): Field<T['queue']>;
  /**
   * Field that QEMU's `save_extra_state` and `load_extra_state` write and read; undefined for transports that have none
   * (ccw).
   */
  readonly extraState?: Field<T['extra']>;
  /** Names the configuration state by the words of the transport's standard, for people; it is derived, not stored. */
  describe?(config: T['config']): Json;
}

/** Types of the state that a transport layer brings, inferred from the layer. */
export type PartsOf<L> = L extends TransportLayer<infer T> ? T : never;
