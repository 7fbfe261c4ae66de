import type { TransportParts } from '@virtkit/core';
import { describe, test } from 'vitest';
import { allCases } from '../src/suite/all.ts';
import type { DeviceBench, TransportBench } from '../src/suite/bench.ts';
import { register } from '../src/suite/case.ts';
import { RING_MODES } from '../src/suite/rings.ts';
import { DEVICES, map, TRANSPORTS } from './benches.ts';

const transports = Object.values(TRANSPORTS) as TransportBench<unknown, TransportParts>[];
const devices = Object.values(DEVICES) as DeviceBench<unknown>[];

// VIRTKIT_SUITE=whole: the whole product, which takes half an hour; else a sample; fifteen.test.ts goes over all transports
const whole = process.env['VIRTKIT_SUITE'] === 'whole';
const STRIDE = 23;

transports.forEach((bench, t) => {
  const modes = RING_MODES.filter(({ modern }) => bench.modern || !modern);
  modes.forEach((rings, r) => {
    if (!whole && (5 * t + r) % STRIDE !== 0) return;
    devices.forEach((device, d) => {
      if (!whole && (t + r) % devices.length !== d) return;
      const title = `${bench.name} / ${rings.name} / ${device.name}`;
      register({ describe, test }, title, allCases({ bench, device, rings, map, steps: whole ? 200 : 12 }));
    });
  });
});
