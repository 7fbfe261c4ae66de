import { expect, test } from 'vitest';
import { Rig } from '../src/suite/rig.ts';
import { RING_MODES } from '../src/suite/rings.ts';
import { disk, map, mmioBench } from './benches.ts';

for (const legacy of [false, true])
  for (const timing of ['sync', 'async'] as const)
    for (const rings of RING_MODES) {
      if (legacy && rings.modern) continue;
      for (const moveEvery of [0, 1, 7]) {
        test(`${legacy ? 'legacy' : 'modern'} ${timing} ${rings.name} move ${moveEvery}`, async () => {
          const rig = new Rig(mmioBench(legacy), disk(timing, 2), { rings, map, moveEvery });
          rig.work.start();
          await rig.run(0, 100, 8);
          expect(rig.world.seen()).toEqual((rig.work as never as { shadow: Uint8Array }).shadow);
          expect(rig.faults()).toEqual([]);
        });
      }
    }
