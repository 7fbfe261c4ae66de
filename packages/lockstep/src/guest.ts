import {
  bringUpLegacy,
  bringUpModern,
  kick,
  mapBars,
  readIsr,
  setUpModernQueue,
  writeCommon,
} from './driver.ts';
import { configNoise, functionReset, legacyNoise, memoryNoise, modernNoise, msixNoise } from './noise.ts';
import type { Operation } from './operation.ts';
import type { Random } from './random.ts';
import { blkRequest, netRequest } from './requests.ts';
import { pokeRing } from './rings.ts';
import type { View } from './view.ts';

type Script = Generator<Operation, void, void>;

/** A guest without end: brings the device up, works with it well and badly, and begins anew. The same for the same seed. */
export function* guest(view: View, random: Random): Script {
  yield* mapBars(view, random);
  for (;;) {
    const legacy =
      view.setup.interface === 'legacy' || (view.setup.interface === 'transitional' && random.once(2));
    if (random.once(4)) yield* mapBars(view, random);
    yield* legacy ? bringUpLegacy(view, random) : bringUpModern(view, random);
    // a broken device ignores the driver: no use in staying with it for long
    for (let left = random.between(20, 300); left > 0; left--) {
      yield* step(view, random, legacy);
      if (view.live.broken && left > 12) left = 12;
    }
  }
}

function* step(view: View, random: Random, legacy: boolean): Script {
  const queue = pickQueue(view, random);
  yield* random.weighted<() => Script>([
    [10, () => work(view, random, queue, legacy)],
    [1, () => kick(view, random, queue, legacy)],
    [0.2, () => kick(view, random, random.below(12), legacy)],
    [2, () => readIsr(view, legacy)],
    [view.setup.content ? 0 : 2, () => pokeRing(view, random, queue)],
    [1, () => memoryNoise(view, random)],
    [3, () => configNoise(view, random)],
    [view.setup.interface === 'modern' ? 0 : legacy ? 4 : 0.3, () => legacyNoise(view, random)],
    [view.setup.interface === 'legacy' ? 0 : legacy ? 0.3 : 5, () => modernNoise(view, random)],
    [view.setup.vectors > 0 ? 2 : 0, () => msixNoise(view, random)],
    [legacy ? 0 : 0.2, () => resetQueue(view, random, queue)],
    [view.setup.express ? 0.1 : 0, () => functionReset(view, random)],
  ])();
}

function pickQueue(view: View, random: Random): number {
  return random.below(Math.max(1, view.live.queueCount));
}

/** Some requests, and a kick if it is not forgotten. */
function* work(view: View, random: Random, queue: number, legacy: boolean): Script {
  const count = random.weighted([
    [6, 1],
    [2, view.setup.content ? 1 : 2],
    [1, view.setup.content ? 1 : 3],
  ]);
  for (let i = 0; i < count; i++)
    yield* view.setup.device === 'blk' ? blkRequest(view, random, queue) : netRequest(view, random, queue);
  if (!random.once(10) || view.setup.content) yield* kick(view, random, queue, legacy);
}

/** Resets a queue alone, and sets it up again. Virtio 1.3 §2.6.1 */
function* resetQueue(view: View, random: Random, queue: number): Script {
  yield* writeCommon(view, random, 'QUEUE_SEL', queue);
  yield* writeCommon(view, random, 'QUEUE_RESET', 1);
  if (!random.once(4)) yield* setUpModernQueue(view, random, queue);
}
