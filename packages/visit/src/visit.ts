import type { VirtioState } from '@virtkit/core';
import type { BlkRequest, BlkState } from '@virtkit/device-blk';
import { titleOf } from '@virtkit/migration';
import type { ChangedPage } from './rewrite.ts';
import type { LiveStream, StreamDevice } from './stream-live.ts';

/** What was done to one device. */
export interface Visited {
  /** `virtio-blk@0000:00:02.0` */
  readonly title: string;
  /** Section that it came from. */
  readonly idstr: string;
  /** Requests that were in flight. */
  readonly found: number;
  /** Executed on the disk, and given back to the driver in its rings. */
  readonly executed: number;
  /** Left in flight, for QEMU: one a queue, whose interrupt tells the driver of all; and what failed. */
  readonly left: number;
  /** The section's body now; undefined: nothing changed. */
  readonly body: Uint8Array | undefined;
}

const PAGE = 4096;

/**
 * Executes the block requests that a stopped guest has in flight, on the disks that the devices of `opened` are connected to.
 *
 * An interrupt that is raised here reaches nobody: the guest's interrupt controllers are in other sections. So one request of
 * each queue stays in flight: QEMU executes it when the guest goes on, and its interrupt lets the driver find all the others
 * in its ring. (QEMU forgets at a load what it has signalled, so that it does not think the driver knows already.) For
 * the same reason everything that stands for pending interrupts is put back as it was. A queue with one request in flight is
 * left alone, and so are requests that QEMU has not taken from the ring yet: it looks there by itself.
 */
export async function visitBlocks(opened: LiveStream): Promise<Visited[]> {
  opened.memory.startDirtyLog();
  const visited: Visited[] = [];
  for (const each of opened.devices) {
    if (each.device.name === 'virtio-blk') visited.push(await visitDisk(each, opened));
  }
  return visited;
}

/** Pages of RAM that the visit changed. */
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

async function visitDisk({ device, state, live }: StreamDevice, { memory }: LiveStream): Promise<Visited> {
  const blkState = state as VirtioState<never, BlkState>;
  const { requests, layout } = blkState.device;
  const held = oneOfEach(requests);
  const title = titleOf(device);
  const { idstr } = device.section.header;
  const nothing = {
    title,
    idstr,
    found: requests.length,
    executed: 0,
    left: requests.length,
    body: undefined,
  };
  if (requests.length === held.length) return nothing;
  const summaries = indicatorSummaries(state);
  const before = summaries.map((gpa) => memory.readU8(gpa as Parameters<typeof memory.readU8>[0]));
  const rest = requests.filter((request) => !held.includes(request));
  live.restore({ ...blkState, device: { ...blkState.device, requests: rest } } as Parameters<
    typeof live.restore
  >[0]);
  live.resume({ rings: false });
  // asynchronous back ends: until none is under way
  for (let turn = 0; turn < 10_000 && stillInFlight(live) > 0; turn++) await Promise.resolve();
  const after = live.capture() as VirtioState<never, BlkState>;
  summaries.forEach((gpa, index) => {
    memory.writeU8(gpa as Parameters<typeof memory.writeU8>[0], before[index] ?? 0);
  });
  const remaining = [...after.device.requests, ...held];
  const next = {
    ...after,
    transport: blkState.transport,
    isr: blkState.isr,
    device: { ...after.device, requests: remaining, ...(layout !== undefined && { layout }) },
  };
  return {
    title,
    idstr,
    found: requests.length,
    executed: requests.length - remaining.length,
    left: remaining.length,
    body: device.codec.encode(next as never),
  };
}

function stillInFlight(live: StreamDevice['live']): number {
  return (live.capture() as unknown as VirtioState<never, BlkState>).device.requests.length;
}

/** One request of each queue. */
function oneOfEach(requests: readonly BlkRequest[]): BlkRequest[] {
  const byQueue = new Map<number, BlkRequest>();
  for (const request of requests)
    if (!byQueue.has(request.queue ?? 0)) byQueue.set(request.queue ?? 0, request);
  return [...byQueue.values()];
}

/** Channel I/O: a summary byte that is set already would keep QEMU from interrupting. */
function indicatorSummaries({ transport }: VirtioState): number[] {
  const { summaryIndicator } = transport as {
    readonly summaryIndicator?: { readonly len: number; readonly addr: bigint };
  };
  return summaryIndicator !== undefined && summaryIndicator.len > 0 ? [Number(summaryIndicator.addr)] : [];
}
