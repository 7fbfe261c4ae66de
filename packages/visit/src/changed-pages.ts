import type { ChangedPage } from '@virtkit/migration/rewrite';
import type { LiveStream } from './stream-live.ts';

/** Length in bytes of a page of RAM. QEMU sends pages of this size on all machines that have virtio devices. */
const PAGE = 4096;

/** Lists the pages of RAM that were changed since requests began to be executed, for a `StreamRewriter`. */
export function* changedPages(
  { memory, placements }: LiveStream,
  blocks: ReadonlyMap<string, Uint8Array>,
): Generator<ChangedPage> {
  const runs: { gpa: number; length: number }[] = [];
  memory.takeDirty((gpa, length) => runs.push({ gpa, length }));
  for (const { gpa, length } of runs) {
    for (let at = gpa - (gpa % PAGE); at < gpa + length; at += PAGE) {
      const place = placements.find((each) => at >= each.gpa && at < each.gpa + each.length);
      const bytes = place === undefined ? undefined : blocks.get(place.block);
      if (place === undefined || bytes === undefined) continue;
      const offset = place.offset + at - place.gpa;
      yield { block: place.block, offset, bytes: bytes.subarray(offset, offset + PAGE) };
    }
  }
}
