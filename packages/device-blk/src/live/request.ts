import type { Chain, VirtQueueElement } from '@virtkit/core/live';
import { LentSpans } from './spans.ts';

/** Operation that the back end is asked for. */
export type Operation = 'read' | 'write' | 'flush' | 'discard' | 'write-zeroes' | 'secure-erase';

/**
 * Stage of a request:
 *
 * ```
 *   pop ──► taken ──► planned ──► running ──► (pushed)
 *             ▲                      ├──► done      finished while the machine was stopped: pushed at resume
 *             └──────────────────────┴──► stopped   failed, policy "stop"; or its data did not arrive: taken again at resume
 *   reset: lost, while the back end is still at it; else free
 * ```
 */
export type Stage = 'free' | 'taken' | 'planned' | 'running' | 'done' | 'stopped' | 'lost';

/** Request in flight. Objects are reused. */
export class Request {
  stage: Stage = 'free';
  /** Chain with the driver's buffers; undefined when the object is free or its request lost. */
  chain: Chain | undefined;
  /** Number of bytes that the device may write, the status among them. */
  room = 0;
  operation: Operation = 'read';
  /** Number of the first sector, of 512 bytes. */
  sector = 0;
  /** Length of the data in bytes. */
  length = 0;
  mayUnmap = false;
  /** Segments behind the first one, each as three numbers: sector, bytes, mayUnmap (0 or 1). */
  more: readonly number[] | undefined;
  /** Number of bytes that the request counts for among those in flight, while the back end is at it. */
  bytesInFlight = 0;
  /** Status that the driver will be told, when the request is done. */
  status = 0;
  readonly lent: LentSpans = new LentSpans();
  /** Request that is begun after this one. */
  planned: Request | undefined;
  /** Neighbour in the list of requests in flight; {@link next} is the other one. */
  previous: Request | undefined;
  next: Request | undefined;
  /** Handlers of the promise of the request's operation, made once. */
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;

  constructor(settle: (request: Request, failed: boolean, error: unknown) => void) {
    this.resolve = () => settle(this, false, undefined);
    this.reject = (error) => settle(this, true, error);
  }
}

/** List of the requests in flight, oldest first, with a pool of free ones. */
export class RequestList {
  first: Request | undefined;
  last: Request | undefined;
  #free: Request | undefined;
  readonly #settle: (request: Request, failed: boolean, error: unknown) => void;

  constructor(settle: (request: Request, failed: boolean, error: unknown) => void) {
    this.#settle = settle;
  }

  add(chain: Chain): Request {
    const request = this.#free ?? new Request(this.#settle);
    this.#free = request.next;
    request.next = undefined;
    request.stage = 'taken';
    request.chain = chain;
    request.previous = this.last;
    if (this.last === undefined) this.first = request;
    else this.last.next = request;
    this.last = request;
    return request;
  }

  /** Takes a request out of the list, for {@link release} now or later. */
  remove(request: Request): void {
    const { previous, next } = request;
    if (previous === undefined) this.first = next;
    else previous.next = next;
    if (next === undefined) this.last = previous;
    else next.previous = previous;
    request.previous = undefined;
    request.next = undefined;
    request.chain = undefined;
    request.more = undefined;
  }

  /** Gives back the object of a request that was removed. */
  release(request: Request): void {
    request.stage = 'free';
    request.next = this.#free;
    this.#free = request;
  }

  /** Copies the list, oldest first: for loops that change it. */
  all(): Request[] {
    const list: Request[] = [];
    for (let request = this.first; request !== undefined; request = request.next) list.push(request);
    return list;
  }
}

/** Restored request whose ring does not run: the device came back broken. It is kept for the next save. */
export interface ParkedRequest {
  readonly queue: number;
  readonly ndescs: number;
  readonly element: VirtQueueElement;
}
