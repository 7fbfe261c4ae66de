import type { TransportParts } from '@virtkit/core';
import { describe, test, vi } from 'vitest';
import { allCases } from '../src/suite/all.ts';
import type { DeviceBench, TransportBench } from '../src/suite/bench.ts';
import { register } from '../src/suite/case.ts';
import { RING_MODES } from '../src/suite/rings.ts';
import { DEVICES, map, TRANSPORTS } from './benches.ts';

const transports = Object.values(TRANSPORTS) as TransportBench<unknown, TransportParts>[];
const devices = Object.values(DEVICES) as DeviceBench<unknown>[];

vi.setConfig({ testTimeout: 60_000 });

// VIRTKIT_SUITE=whole: the whole product, which takes ten minutes; else each pair of transport and ring mode with one device,
// so that each device meets each ring mode and each transport, too
const whole = process.env['VIRTKIT_SUITE'] === 'whole';

transports.forEach((bench, t) => {
  const modes = RING_MODES.filter(({ modern }) => bench.modern || !modern);
  modes.forEach((rings, r) => {
    devices.forEach((device, d) => {
      if (!whole && (t + r) % devices.length !== d) return;
      const title = `${bench.name} / ${rings.name} / ${device.name}`;
      register({ describe, test }, title, allCases({ bench, device, rings, map, steps: whole ? 100 : 12 }));
    });
  });
});
