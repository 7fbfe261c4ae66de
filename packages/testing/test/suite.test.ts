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

// VIRTKIT_SUITE=whole: the whole product, which takes a quarter of an hour; else each transport with one ring mode and
// one device, so that all of them occur; fifteen.test.ts goes over all transports again
const whole = process.env['VIRTKIT_SUITE'] === 'whole';

transports.forEach((bench, t) => {
  const modes = RING_MODES.filter(({ modern }) => bench.modern || !modern);
  modes.forEach((rings, r) => {
    if (!whole && r !== (5 * t) % modes.length) return;
    devices.forEach((device, d) => {
      if (!whole && t % devices.length !== d) return;
      const title = `${bench.name} / ${rings.name} / ${device.name}`;
      register({ describe, test }, title, allCases({ bench, device, rings, map, steps: whole ? 100 : 12 }));
    });
  });
});
