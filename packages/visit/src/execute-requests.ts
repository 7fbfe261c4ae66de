import type { Gpa, MappedMemory, RequestInFlight, VirtioState } from '@virtkit/core';
import type { RequestSide } from '@virtkit/core/qemu';
import { titleOf } from '@virtkit/migration';
import { isStateError } from '@virtkit/vmstate';
import type { LiveStream, StreamDevice } from './stream-live.ts';

/**
 * Numbers of requests of one device, by what was done with them. `found` is `executed`, `failed` and `left` together.
 */
export interface Visited {
  /** Title of the device: `virtio-blk@0000:00:02.0`. */
  readonly title: string;
  /** Name of the section that the device came from. */
  readonly idstr: string;
  /** Number of requests that were in flight. */
  readonly found: number;
  /** Number of requests that were executed on the disk and given back to the driver in its rings. */
  readonly executed: number;
  /**
   * Number of requests that were tried and not executed: the disk failed, and the request is still in flight for QEMU (error
   * policy `stop`), or the driver is told of an I/O error.
   */
  readonly failed: number;
  /** Number of requests that were not tried and stay in flight for QEMU: one of each queue, whose interrupt tells the driver of all. */
  readonly left: number;
  /** Body of the section as it is now; undefined: nothing changed. */
  readonly body: Uint8Array | undefined;
}

/** Options of {@link executeRequests}. */
export interface ExecuteOptions {
  /**
   * True to take disks that are larger than the guest's, such as one that has grown since the driver looked. Default
   * false.
   */
  readonly largerDisks?: boolean;
}

/**
 * Executes the requests that a stopped guest has in flight, on what the devices of `opened` are connected to, where their type has
 * requests that a host can execute (disks).
 *
 * An interrupt that is raised here reaches nobody: the guest's interrupt controllers are in other sections. So one request of
 * each queue stays in flight: QEMU executes it when the guest goes on, and its interrupt lets the driver find all the others
 * in its ring. (QEMU forgets at a load what it has signalled, so that it does not think the driver knows already.) For
 * the same reason everything that stands for pending interrupts is put back as it was. A queue with one request in flight is
 * left alone, and so are requests that QEMU has not taken from the ring yet: it looks there by itself.
 *
 * Waits for back ends that answer later. What fails stays in flight where the device was made with an error policy that says so
 * (`rerror` and `werror` of a disk: `stop`); with others the driver hears of it.
 *
 * @throws StateError `disk-size` if a disk is not the size that its guest knows; nothing is executed then
 */
export async function executeRequests(
  opened: LiveStream,
  { largerDisks = false }: ExecuteOptions = {},
): Promise<Visited[]> {
  const devices = opened.devices.flatMap((each) => {
    const { requests } = each.type;
    return requests === undefined ? [] : [{ each, requests }];
  });
  for (const { each, requests } of devices) demandSame(each, requests, largerDisks);
  opened.memory.startDirtyLog();
  const visited: Visited[] = [];
  for (const { each, requests } of devices) visited.push(await executeOf(each, requests, opened));
  return visited;
}

function demandSame(
  { device, state, live }: StreamDevice,
  requests: RequestSide<unknown>,
  larger: boolean,
): void {
  try {
    requests.demandSame?.(state, live.model, { littleEndian: live.littleEndian, larger });
  } catch (error) {
    throw isStateError(error) ? error.within(titleOf(device), 'device') : error;
  }
}

async function executeOf(
  { device, state, live }: StreamDevice,
  requests: RequestSide<unknown>,
  { memory }: LiveStream,
): Promise<Visited> {
  const all = requests.list(state);
  const held = oneOfEach(all);
  const [found, left] = [all.length, held.size];
  const named = { title: titleOf(device), idstr: device.section.header.idstr, found, left };
  if (found === left) return { ...named, executed: 0, failed: 0, body: undefined };
  const summaries = indicatorSummaries(state);
  const before = summaries.map((gpa) => memory.readU8(gpa as Gpa));
  const rest = all.flatMap((_, number) => (held.has(number) ? [] : [number]));
  live.restore(
    { ...state, device: requests.keep(state.device, rest) },
    { withheld: all.filter((_, number) => held.has(number)) },
  );
  const answers = rest
    .flatMap((number) => all[number] ?? [])
    .map((each) => new Answer(requests, each, memory));
  live.resume({ rings: false });
  await live.model.idle?.();
  const after = live.capture();
  summaries.forEach((gpa, index) => {
    memory.writeU8(gpa as Gpa, before[index] ?? 0);
  });
  const executed = answers.filter((answer) => answer.isExecuted()).length;
  const next: VirtioState = {
    ...after,
    transport: state.transport,
    isr: state.isr,
    device: requests.join(after.device, requests.keep(state.device, [...held])),
  };
  return { ...named, executed, failed: rest.length - executed, body: device.codec.encode(next) };
}

/** Byte that is no answer: it stands where a device has not answered yet. */
const UNANSWERED = 0xff;

/** Byte in which a request is answered. */
class Answer {
  readonly #requests: RequestSide<unknown>;
  readonly #memory: MappedMemory;
  readonly #place: Gpa | undefined;
  readonly #before: number;

  constructor(requests: RequestSide<unknown>, request: RequestInFlight, memory: MappedMemory) {
    this.#requests = requests;
    this.#memory = memory;
    const place = requests.answerAt(request);
    this.#place = place === undefined ? undefined : (Number(place) as Gpa);
    this.#before = this.#place === undefined ? UNANSWERED : memory.readU8(this.#place);
    if (this.#place !== undefined) memory.writeU8(this.#place, UNANSWERED);
  }

  /**
   * Was the request answered, and not with a failure of the host? Puts back what stood there if it was not answered.
   */
  isExecuted(): boolean {
    const place = this.#place;
    if (place === undefined) return false;
    const answer = this.#memory.readU8(place);
    if (answer === UNANSWERED) this.#memory.writeU8(place, this.#before);
    return answer !== UNANSWERED && !this.#requests.hasFailed(answer);
  }
}

/** Finds the number of the first request of each queue. */
function oneOfEach(requests: readonly RequestInFlight[]): ReadonlySet<number> {
  const byQueue = new Map<number, number>();
  requests.forEach(({ queue }, number) => {
    if (!byQueue.has(queue)) byQueue.set(queue, number);
  });
  return new Set(byQueue.values());
}

/**
 * Lists the guest addresses of the summary indicators of channel I/O: a byte that is set already would keep QEMU from
 * interrupting.
 */
function indicatorSummaries({ transport }: VirtioState): number[] {
  const { summaryIndicator } = transport as {
    readonly summaryIndicator?: { readonly len: number; readonly addr: bigint };
  };
  return summaryIndicator !== undefined && summaryIndicator.len > 0 ? [Number(summaryIndicator.addr)] : [];
}
