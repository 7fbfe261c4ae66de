import {
  FEATURE,
  ISR,
  type Report,
  reportError,
  reportWarning,
  type TransportHost,
  type TransportIdentity,
  type TransportModel,
  type VirtioState,
} from '@virtkit/core/live';
import { hex } from '@virtkit/vmstate';
import { NO_VECTOR } from '../identity.ts';
import { PCI_HEADER as HEADER } from '../pci-header.ts';
import type { PciConfigState, PciExtraState, PciParts, PciQueueState } from '../state.ts';
import { COMMAND, STATUS_BIT } from './config-registers.ts';
import { Intx } from './intx.ts';
import type { Layout } from './layout.ts';
import { ModernState } from './modern-state.ts';
import type { PciShape } from './options.ts';
import { Vectors } from './vectors.ts';

/** Version of every QEMU's `PCIDevice` since 0.12. */
const VERSION_ID = 2;

/** PCI as core sees it: interrupts for queues and configuration changes, and the transport's part of the state. */
export class PciTransport implements TransportModel<PciParts> {
  readonly layer: TransportIdentity<PciParts>;
  readonly features: bigint = 1n << BigInt(FEATURE.BAD_FEATURE);
  readonly layout: Layout;
  readonly vectors: Vectors;
  readonly intx: Intx;
  /** True if messages reach memory: bus mastering is on. QEMU: `bus_master_enable_region`. */
  busMaster = false;
  readonly #shape: PciShape;
  #host: TransportHost | undefined;
  #modern: ModernState | undefined;
  #versionId = VERSION_ID;

  constructor(
    layer: TransportIdentity<PciParts>,
    layout: Layout,
    shape: PciShape,
    setIntx: (level: boolean) => void,
  ) {
    this.layer = layer;
    this.layout = layout;
    this.#shape = shape;
    this.vectors = new Vectors(layout.msix);
    this.intx = new Intx(layout.space, setIntx);
  }

  /** Takes core's view of the device, which exists now. */
  attach(host: TransportHost): void {
    this.#host = host;
    if (this.#shape.hasModern)
      this.#modern = new ModernState(host.offeredFeatures(false) >> 64n === 0n ? 2 : 4);
  }

  get modern(): ModernState | undefined {
    return this.#modern;
  }

  // Interrupts

  /** Interrupts the driver for a queue or for the configuration. QEMU: `virtio_pci_notify`. */
  notify(queue: number): void {
    const { msix } = this.layout;
    if (!msix.enabled) {
      this.updateIntx();
      return;
    }
    const vector = queue < 0 ? this.vectors.config : this.vectors.ofQueue(queue);
    // Virtio 1.3 §4.1.5.3.1 MUST NOT: no interrupt for a queue without a vector (it has no uses)
    // Virtio 1.3 §4.1.5.4.1 MUST NOT: nor for configuration changes
    msix.notify(vector);
  }

  /** Sets the line by the ISR: without MSI-X, it follows bit 0; configuration changes set both bits. */
  updateIntx(): void {
    if (!this.layout.msix.enabled) this.intx.set(((this.#host?.isr ?? 0) & ISR.QUEUE) !== 0);
  }

  resetQueue(queue: number): void {
    this.vectors.unmapQueue(queue);
  }

  // State

  captureConfig(): PciConfigState {
    const { space, msix } = this.layout;
    const config = space.bytes.slice();
    // it follows from the levels; old versions never had it
    config[HEADER.STATUS] = space.u8(HEADER.STATUS) & ~STATUS_BIT.INTERRUPT;
    return {
      versionId: this.#versionId,
      config,
      irqState: this.intx.levels,
      msixTable: msix.entries(),
      msixPba: msix.pendingSaved(),
      ...(msix.vectors > 0 && { configVector: this.vectors.config }),
    };
  }

  captureQueue(queue: number): PciQueueState {
    return this.layout.msix.vectors > 0 ? { vector: this.vectors.ofQueue(queue) } : {};
  }

  captureExtra(): PciExtraState | undefined {
    if (!this.#shape.properties.migrateExtra) return undefined;
    return this.#modern === undefined ? {} : { modernState: this.#modern.capture() };
  }

  check(state: VirtioState<PciParts, unknown>, report: Report): void {
    const { space } = this.layout;
    const { config } = state.transport;
    if (config.length !== space.size) {
      reportError(
        report,
        'config-space-size',
        'transport.config',
        `${config.length} bytes of configuration space, and this function has ${space.size}: one of them is PCI Express`,
        { found: config.length, expected: space.size },
      );
      return;
    }
    const told = new Set<string>();
    for (const { at, name, read, device, cmask, wmask, w1cmask } of space.mismatches(config)) {
      // one finding for a capability or a field of the header: where they begin to differ
      const [whole = name] = name.split(':');
      if (told.has(whole)) continue;
      told.add(whole);
      reportError(
        report,
        'config-space',
        `transport.config[${hex(at)}]`,
        `Bad config data: i=${hex(at)} read: ${hex(read)} device: ${hex(device)} cmask: ${hex(cmask)} wmask: ${hex(wmask)} w1cmask: ${hex(w1cmask)} (${name})`,
        { offset: at, name, read, device, cmask, wmask, w1cmask },
      );
    }
    this.#checkExtra(state.subsections.extraState, report);
  }

  #checkExtra(extra: PciExtraState | undefined, report: Report): void {
    if (extra?.modernState === undefined || this.#modern !== undefined) return;
    reportWarning(
      report,
      'modern-state',
      'subsections.extraState.modernState',
      'registers of the modern interface, which this function does not have',
    );
  }

  apply(state: VirtioState<PciParts, unknown>): void {
    const { space, bars, msix } = this.layout;
    const { config, irqState, msixTable, msixPba, configVector, versionId } = state.transport;
    this.#versionId = versionId;
    space.bytes.set(config);
    bars.update();
    this.busMaster = (space.u16(HEADER.COMMAND) & COMMAND.MASTER) !== 0;
    msix.restore(msixTable, msixPba);
    this.vectors.restore(
      configVector ?? NO_VECTOR,
      state.queues.map(({ transport }) => transport.vector ?? NO_VECTOR),
    );
    this.#modern?.restore(state.subsections.extraState?.modernState);
    // an interrupt that the guest has not taken yet: the line goes up here as well
    this.intx.restore(irqState, msix.enabled ? undefined : (state.isr & ISR.QUEUE) !== 0);
  }
}
