import type { DeviceModel } from '@virtkit/core/live';
import { Bars, powerOfTwo } from './bars.ts';
import {
  addExpress,
  addModernCapabilities,
  addMsix,
  BAR,
  notifyBytes,
  STRUCTURE,
  setIdentity,
} from './capabilities.ts';
import { classCodeOf } from './class-code.ts';
import { ConfigRegisters } from './config-registers.ts';
import { legacyBytes } from './legacy-registers.ts';
import { type MessageWays, Msix, msixBar } from './msix.ts';
import type { PciOptions, PciShape } from './options.ts';

/** Configuration space of a function as it is made, with the offsets that belong to it. */
export interface Layout {
  readonly space: ConfigRegisters;
  readonly bars: Bars;
  readonly msix: Msix;
  /** Offset of the PCI configuration access capability; 0 without. */
  readonly window: number;
  /** Offsets of the PCI Express and power management capabilities. */
  readonly express: { readonly express: number; readonly power: number } | undefined;
}

/** Makes configuration space in the order in which QEMU does: it decides the offsets of the capabilities. */
export function layOut(model: DeviceModel, options: PciOptions, shape: PciShape, ways: MessageWays): Layout {
  const space = new ConfigRegisters(shape.express);
  const bars = new Bars(space, options.allowAddressZero ?? false, options.onBarChange?.bind(options));
  setIdentity(space, {
    ...shape.ids,
    classCode: options.classCode ?? classCodeOf(model.layer.virtioId),
    multifunction: options.multifunction ?? false,
  });
  const { aer = false, ats = false } = options;
  const express = shape.express ? addExpress(space, { ...shape.properties, aer, ats }) : undefined;
  const pio = options.modernPioNotify ?? false;
  const window = shape.hasModern ? addModernCapabilities(space, shape.multiplier, pio) : 0;
  if (shape.hasModern) {
    if (pio) bars.add(BAR.NOTIFY_PIO, 'io', 4);
    const bytes = powerOfTwo(STRUCTURE.NOTIFY + notifyBytes(shape.multiplier));
    bars.add(BAR.MODERN, 'memory64', bytes, true);
  }
  const msix = layOutMsix(space, bars, shape.vectors, ways);
  if (shape.hasLegacy)
    bars.add(BAR.LEGACY, 'io', powerOfTwo(legacyBytes(shape.vectors > 0, model.configLength ?? 0)));
  if (options.rom !== undefined && options.rom.length > 0)
    bars.add(BAR.ROM, 'rom', powerOfTwo(options.rom.length));
  return { space, bars, msix, window, express };
}

function layOutMsix(space: ConfigRegisters, bars: Bars, vectors: number, ways: MessageWays): Msix {
  if (vectors === 0) return new Msix(space, 0, 0, ways);
  const { pbaOffset, size } = msixBar(vectors);
  const capability = addMsix(space, vectors, pbaOffset);
  bars.add(BAR.MSIX, 'memory32', size);
  return new Msix(space, capability, vectors, ways);
}
