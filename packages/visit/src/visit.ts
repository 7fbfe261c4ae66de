import type { Gpa, MappedMemory, VirtioState } from '@virtkit/core';
import { BLK_S, BlkDevice, type BlkRequest, type BlkState } from '@virtkit/device-blk';
import { titleOf } from '@virtkit/migration';
import { StateError } from '@virtkit/vmstate';
import type { ChangedPage } from './rewrite.ts';
import type { LiveStream, StreamDevice } from './stream-live.ts';

/** What was done to one device. `found` is `executed`, `failed` and `left` together. */
export interface Visited {
  /** `virtio-blk@0000:00:02.0` */
  readonly title: string;
  /** Section that it came from. */
  readonly idstr: string;
  /** Requests that were in flight. */
  readonly found: number;
  /** Executed on the disk, and given back to the driver in its rings. */
  readonly executed: number;
  /**
   * Tried, and not executed: the disk failed and the request is still in flight, for QEMU (error policy `stop`); or the driver
   * is told of an I/O error.
   */
  readonly failed: number;
  /** Not tried, and in flight, for QEMU: one a queue, whose interrupt tells the driver of all. */
  readonly left: number;
  /** The section's body now; undefined: nothing changed. */
  readonly body: Uint8Array | undefined;
}

/** Options of {@link visitBlocks}. */
export interface VisitOptions {
  /** Takes disks that are larger than the guest's, such as one that has grown since the driver looked. Default false. */
  readonly largerDisks?: boolean;
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
 *
 * Waits for back ends that answer later. What fails stays in flight where the devices were opened with the policy `stop` for
 * errors (`OpenOptions.blk`); with others the driver hears of it.
 *
 * @throws StateError `disk-size` if a disk is not the size that its guest knows; nothing is executed then
 */
export async function visitBlocks(opened: LiveStream, options: VisitOptions = {}): Promise<Visited[]> {
  const disks = opened.devices.filter(({ device }) => device.name === 'virtio-blk');
  for (const each of disks) checkSize(each, options);
  opened.memory.startDirtyLog();
  const visited: Visited[] = [];
  for (const each of disks) visited.push(await visitDisk(each, opened));
  return visited;
}

/** @throws StateError `disk-size` */
function checkSize(each: StreamDevice, { largerDisks = false }: VisitOptions): void {
  const { capacity: sectors } = diskOf(each);
  const known = capacityOf(each);
  if (known === undefined || known === sectors || (largerDisks && sectors > known)) return;
  const than = sectors < known ? 'smaller' : 'larger';
  throw new StateError(
    'disk-size',
    `a disk of ${512 * sectors} bytes (${sectors} sectors) is ${than} than the guest's, which has ${512 * known} (${known} sectors)`,
    { sectors, capacity: known },
    { layer: 'device', path: titleOf(each.device) },
  );
}

/** Sectors that the driver has seen; undefined: it never looked. Virtio 1.3 §5.2.4: le64 capacity is the first field. */
function capacityOf({ state, live }: StreamDevice): number | undefined {
  const { config } = state;
  // QEMU saves the bytes that the driver read last
  if (config.length < 8 || config.every((byte) => byte === 0)) return undefined;
  return Number(new DataView(config.buffer, config.byteOffset).getBigUint64(0, live.littleEndian));
}

function diskOf({ device, live }: StreamDevice): BlkDevice {
  if (live.model instanceof BlkDevice) return live.model;
  const path = titleOf(device);
  throw new StateError('device-type', 'is no live block device', {}, { layer: 'device', path });
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

async function visitDisk(each: StreamDevice, { memory }: LiveStream): Promise<Visited> {
  const { device, state, live } = each;
  const blkState = state as VirtioState<never, BlkState>;
  const { requests, layout } = blkState.device;
  const held = oneOfEach(requests);
  const [found, left] = [requests.length, held.length];
  const named = { title: titleOf(device), idstr: device.section.header.idstr, found, left };
  if (found === left) return { ...named, executed: 0, failed: 0, body: undefined };
  const summaries = indicatorSummaries(state);
  const before = summaries.map((gpa) => memory.readU8(gpa as Gpa));
  const rest = requests.filter((request) => !held.includes(request));
  live.restore(
    { ...blkState, device: { ...blkState.device, requests: rest } } as Parameters<typeof live.restore>[0],
    { withheld: held.map((request) => ({ queue: 0, path: 'device.requests', ...request })) },
  );
  const answers = rest.map((request) => new Answer(request, memory));
  live.resume({ rings: false });
  await diskOf(each).idle();
  const after = live.capture() as VirtioState<never, BlkState>;
  summaries.forEach((gpa, index) => {
    memory.writeU8(gpa as Gpa, before[index] ?? 0);
  });
  const executed = answers.filter((answer) => answer.isExecuted()).length;
  const remaining = [...after.device.requests, ...held];
  const next = {
    ...after,
    transport: blkState.transport,
    isr: blkState.isr,
    device: { ...after.device, requests: remaining, ...(layout !== undefined && { layout }) },
  };
  return { ...named, executed, failed: rest.length - executed, body: device.codec.encode(next as never) };
}

/** No status that there is: what stands where a device has not answered yet. */
const UNANSWERED = 0xff;

/** The byte in which a request is answered, the last one that the device writes. Virtio 1.3 §5.2.6 */
class Answer {
  readonly #memory: MappedMemory;
  readonly #place: Gpa | undefined;
  readonly #before: number;

  constructor({ element }: BlkRequest, memory: MappedMemory) {
    this.#memory = memory;
    const last = element.in.at(-1);
    this.#place = last === undefined ? undefined : (Number(last.addr + last.len - 1n) as Gpa);
    this.#before = this.#place === undefined ? UNANSWERED : memory.readU8(this.#place);
    if (this.#place !== undefined) memory.writeU8(this.#place, UNANSWERED);
  }

  /** Whether it was answered, and not with an error of the disk. Puts back what stood there if it was not. */
  isExecuted(): boolean {
    const place = this.#place;
    if (place === undefined) return false;
    const status = this.#memory.readU8(place);
    if (status === UNANSWERED) this.#memory.writeU8(place, this.#before);
    return status !== UNANSWERED && status !== BLK_S.IOERR;
  }
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
