import type { TransportParts } from '@virtkit/core';
import { expect, test } from 'vitest';
import type { TransportBench } from '../src/suite/bench.ts';
import { Rig } from '../src/suite/rig.ts';
import { RING_MODES } from '../src/suite/rings.ts';
import { disk, map, TRANSPORTS } from './benches.ts';

for (const bench of Object.values(TRANSPORTS) as TransportBench<unknown, TransportParts>[])
  for (const timing of ['sync', 'async'] as const)
    for (const rings of RING_MODES) {
      if (!bench.modern && rings.modern) continue;
      for (const moveEvery of [0, 29]) {
        test(`${bench.name} ${timing} ${rings.name} move ${moveEvery}`, async () => {
          const rig = new Rig(bench, disk(timing, 2), { rings, map, moveEvery });
          rig.work.start();
          await rig.run(0, 100, 8);
          expect(rig.world.seen()).toEqual((rig.work as never as { shadow: Uint8Array }).shadow);
          expect(rig.faults()).toEqual([]);
        });
      }
    }
