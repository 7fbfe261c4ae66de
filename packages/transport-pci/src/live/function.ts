import {
  createDevice,
  type DeviceModel,
  type LiveDevice,
  type LiveOptions,
  type TransportHost,
  type TransportIdentity,
} from '@virtkit/core/live';
import { pciIdentity } from '../identity.ts';
import type { PciParts } from '../state.ts';
import { allOnes, isAligned, type Region, readPieces, truncate, writePieces } from './access.ts';
import type { Bar } from './bars.ts';
import { BAR } from './capabilities.ts';
import { CommonConfig } from './common-config.ts';
import { ConfigAccess } from './config-access.ts';
import { layOut } from './layout.ts';
import { LegacyRegisters } from './legacy-registers.ts';
import { ModernRegion } from './modern-region.ts';
import { type PciOptions, type PciShape, shapeOf } from './options.ts';
import { NotifyPioRegion, RomRegion } from './small-regions.ts';
import { PciTransport } from './transport.ts';

/** Number of base address registers: BARs 0 to 5, and the ROM. */
const BARS = 7;

/**
 * Virtio device as a PCI function: Virtio 1.3 §4.1; QEMU `hw/virtio/virtio-pci.c`. An emulator hands it the guest's
 * accesses to configuration space and BARs, and takes interrupts and messages from it.
 *
 * Nothing here throws for what a guest does, whatever the offset, the size and the value.
 */
export class PciFunction<D = unknown> {
  /**
   * Device as the host program sees it, with its status and queues, and what saves, loads, stops and goes on:
   * `device.capture()`, `restore()`, `pause()`, `resume()`.
   */
  readonly device: LiveDevice<PciParts, D>;
  readonly #host: TransportHost;
  readonly #transport: PciTransport;
  readonly #config: ConfigAccess;
  /** Ranges of addresses by BAR. */
  readonly #regions: readonly (Region | undefined)[];
  readonly #sizes: readonly number[];

  /**
   * @param layer what makes bytes of the state; default: nothing does
   * @throws HostError for options that make no function
   */
  constructor(model: DeviceModel<D>, options: PciOptions, layer: TransportIdentity<PciParts> = pciIdentity) {
    const shape = shapeOf(model, options);
    const { sendVector } = options;
    const layout = layOut(model, options, shape, {
      message: (address, data) => {
        // nothing is mapped at 2^53 and above, and a number does not hold such an address
        if (transport.busMaster && address <= Number.MAX_SAFE_INTEGER) options.sendMsi?.(address, data);
      },
      // without bus mastering a message is lost
      vector: sendVector && ((vector) => !transport.busMaster || sendVector.call(options, vector)),
    });
    const transport = new PciTransport(layer, layout, shape, (level) => options.setIntx?.(level));
    this.#transport = transport;
    const { device, host } = createDevice<PciParts, D>(model, transport, liveOptions(model, options, shape));
    this.device = device;
    this.#host = host;
    transport.attach(host);
    const { modern } = transport;
    const reset = (): void => this.#virtioReset();
    const common = modern && new CommonConfig(host, modern, transport.vectors, reset);
    const structures = common && new ModernRegion(host, common, shape.multiplier, () => this.#readIsr());
    this.#config = new ConfigAccess(host, transport, structures, shape.properties, {
      reset: () => this.reset(),
    });
    this.#regions = this.#makeRegions(model, options, shape, structures);
    this.#sizes = Array.from({ length: BARS }, (_, index) => layout.bars.sizeOf(index));
  }

  #makeRegions(
    model: DeviceModel<D>,
    options: PciOptions,
    shape: PciShape,
    structures: ModernRegion | undefined,
  ): (Region | undefined)[] {
    const host = this.#host;
    const { layout, vectors } = this.#transport;
    const regions: (Region | undefined)[] = Array.from({ length: BARS });
    if (shape.hasLegacy) {
      regions[BAR.LEGACY] = new LegacyRegisters(host, layout.msix, vectors, model.badFeatures ?? 0n, {
        reset: () => this.#virtioReset(),
        enableBusMaster: () => this.#config.enableBusMaster(),
        readIsr: () => this.#readIsr(),
      });
    }
    if (layout.msix.vectors > 0) regions[BAR.MSIX] = layout.msix;
    if (options.modernPioNotify) regions[BAR.NOTIFY_PIO] = new NotifyPioRegion(host);
    regions[BAR.MODERN] = structures;
    if (options.rom !== undefined) regions[BAR.ROM] = new RomRegion(options.rom);
    return regions;
  }

  /** Base address registers that the guest maps, lowest first. Those that are not `enabled` are nowhere now. */
  get bars(): readonly Bar[] {
    return this.#transport.layout.bars.all;
  }

  /** Level of the INTA line. */
  get intx(): boolean {
    return this.#transport.intx.level;
  }

  /** Number of MSI-X vectors; 0 without the capability. */
  get vectors(): number {
    return this.#transport.layout.msix.vectors;
  }

  /** Length of configuration space in bytes: 256, or 4096 of a PCI Express function. */
  get configSize(): number {
    return this.#transport.layout.space.size;
  }

  /** Reads configuration space: 1, 2 or 4 bytes (any number to 8). What lies behind its end reads as all ones. */
  configRead(offset: number, size: number): number {
    return readPieces(this.#config, this.configSize, offset, size);
  }

  /** Writes configuration space: 1, 2 or 4 bytes (any number to 8). */
  configWrite(offset: number, size: number, value: number): void {
    writePieces(this.#config, this.configSize, offset, size, value);
  }

  /**
   * Reads from a BAR (0 to 5, 6 is the ROM), whether or not it is mapped now: 1, 2 or 4 bytes, little-endian. Other
   * sizes to 8 and offsets that are not a multiple are cut into accesses that are; all ones where there is nothing.
   */
  barRead(bar: number, offset: number, size: number): number {
    const region = this.#regions[bar];
    if (region === undefined) return allOnes(size);
    const limit = this.#sizes[bar] ?? 0;
    if (isAligned(offset, size) && offset >= 0 && offset < limit)
      return truncate(region.read(offset, size), size);
    return readPieces(region, limit, offset, size);
  }

  /** Writes to a BAR as {@link barRead} reads. */
  barWrite(bar: number, offset: number, size: number, value: number): void {
    const region = this.#regions[bar];
    if (region === undefined) return;
    const limit = this.#sizes[bar] ?? 0;
    if (isAligned(offset, size) && offset >= 0 && offset < limit)
      region.write(offset, size, truncate(value, size));
    else writePieces(region, limit, offset, size, value);
  }

  /**
   * Sends the message of a vector that the machine did not take before, for functions with `sendVector`: the machine
   * takes messages of this vector again.
   *
   * @param vector what is none is nothing to send
   */
  sendPending(vector: number): void {
    this.#transport.layout.msix.sendPending(vector);
  }

  /**
   * Resets the function, as a bus reset and a function level reset do: everything is as it was made. QEMU:
   * `pci_device_reset`.
   */
  reset(): void {
    this.#virtioReset();
    this.#config.reset();
  }

  /**
   * Takes the function out of the machine: requests under way are forgotten, and nothing reaches guest memory any more,
   * whatever a back end brings. It stays paused; `device.resume()` makes it one that can be put in again.
   */
  unplug(): void {
    this.reset();
    this.device.pause();
  }

  /** Resets the virtio device alone, by status 0 or PFN 0. QEMU: `virtio_pci_reset`. */
  #virtioReset(): void {
    this.#host.reset();
    this.#transport.updateIntx();
    this.#transport.vectors.reset();
    this.#transport.modern?.reset();
  }

  #readIsr(): number {
    const { isr } = this.#host;
    this.#host.acknowledge(isr);
    this.#transport.intx.set(false);
    return isr;
  }
}

/** Derives core's options from what the machine type and the interface mean. */
function liveOptions(
  model: DeviceModel,
  options: PciOptions,
  { properties, hasModern }: PciShape,
): LiveOptions {
  const { ringReset, withoutAnyLayout, useStarted } = properties;
  const anyLayout = !withoutAnyLayout.includes(model.layer.virtioId ?? 0);
  return { ...options, rings: { ringReset, anyLayout, ...options.rings }, version1: hasModern, useStarted };
}
