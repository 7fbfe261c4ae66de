import type { VirtioState } from '@virtkit/core';
import { FEATURE, hasFeature, negotiated } from '@virtkit/core';
import { capabilities, type PciMode, type PciParts } from '@virtkit/transport-pci';
import type { InferredPci } from './made.ts';

const BAR2 = 0x18;
const BAR4 = 0x20;
const HEADER_TYPE = 0x0e;
const MULTIFUNCTION = 0x80;
const FIRST_MODERN = 0x1040;
const EXPRESS_BYTES = 4096;
const EXTENDED = { AER: 0x0001, ATS: 0x000f } as const;
const NOTIFY = 2;
const PAGE = 0x1000;

/** Infers how the PCI function was made that wrote a state: all of it is in configuration space. */
export function inferPci(state: VirtioState<PciParts>, machine: string): InferredPci {
  const { config, msixTable } = state.transport;
  const view = new DataView(config.buffer, config.byteOffset, config.byteLength);
  const express = config.length === EXPRESS_BYTES;
  const notify = capabilities(config).find(
    ({ id, at }) => id === 0x09 && config[at + 3] === NOTIFY && view.getUint32(at + 16, true) !== 0,
  );
  const extended = extendedCapabilities(view);
  const mode = modeOf(view, config);
  return {
    mode,
    express,
    vectors: msixTable.length,
    multifunction: ((config[HEADER_TYPE] ?? 0) & MULTIFUNCTION) !== 0,
    // a function without modern registers has nothing to notify there: a state that says so is refused where it is compared
    modernPioNotify: mode !== 'legacy' && ((config[BAR2] ?? 0) & 1) !== 0,
    ...(notify !== undefined && { pagePerVq: view.getUint32(notify.at + 16, true) === PAGE }),
    aer: extended.has(EXTENDED.AER),
    ats: extended.has(EXTENDED.ATS),
    accessPlatform: mode === 'modern' && hasFeature(negotiated(state), FEATURE.ACCESS_PLATFORM),
    ids: {
      vendor: view.getUint16(0x00, true),
      device: view.getUint16(0x02, true),
      revision: config[0x08] ?? 0,
      subsystemVendor: view.getUint16(0x2c, true),
      subsystem: view.getUint16(0x2e, true),
    },
    // machines without a version in their name are of the program's own
    ...(/-\d+\.\d+$/.test(machine) && { machine }),
  };
}

function modeOf(view: DataView, config: Uint8Array): PciMode {
  if (view.getUint16(0x02, true) >= FIRST_MODERN) return 'modern';
  // a 64-bit memory BAR holds the modern registers
  if (((config[BAR4] ?? 0) & 0x6) !== 0x4) return 'legacy';
  return ((config[0x10] ?? 0) & 1) === 0 ? 'modern' : 'transitional';
}

function extendedCapabilities(view: DataView): Set<number> {
  const found = new Set<number>();
  for (let at = 0x100; view.byteLength === EXPRESS_BYTES && at >= 0x100 && found.size < 64; ) {
    const word = view.getUint32(at, true);
    if (word === 0) break;
    found.add(word & 0xffff);
    at = (word >>> 20) & 0xffc;
  }
  return found;
}
