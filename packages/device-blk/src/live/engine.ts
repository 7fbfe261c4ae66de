import { type Chain, type DeviceHost, HostError, type Virtqueue } from '@virtkit/core/live';
import { getId, getLifetime, scsiCommand } from './answers.ts';
import { errorCode, type Pending } from './backend.ts';
import { operate } from './operate.ts';
import type { Settings } from './options.ts';
import { malformed, parseRanges, parseTransfer, word } from './parse.ts';
import { actionFor } from './policy.ts';
import { type ParkedRequest, type Request, RequestList } from './request.ts';
import { BLK_S, BLK_T, HEADER_BYTES, SECTOR_BYTES } from './wire.ts';

/** Number of operations of the back end that are under way at a time; what the driver wants beyond that waits. */
const OPERATIONS_IN_FLIGHT = 1024;
/** Largest number of entries that an avail index of 16 bits can be ahead. */
const INDEX_TURN = 0x10000;
/** Mask of a request's command in its type: direction and barrier are no part of it, for QEMU. */
const COMMAND = ~(BLK_T.OUT | BLK_T.BARRIER);
const DISCARD = BLK_T.DISCARD & COMMAND;
const WRITE_ZEROES = BLK_T.WRITE_ZEROES & COMMAND;
const { IN, SCSI_CMD, FLUSH, GET_ID, SECURE_ERASE } = BLK_T;

/**
 * Engine that takes requests from rings, has the back end do them, and gives them back. It knows all that are in flight
 * at any moment.
 *
 * While an operation of before a reset is still under way, no new one is begun: a late write must not overtake what the
 * driver writes after the reset. (QEMU waits inside the reset, for which there is no way here.)
 */
export class Engine {
  readonly settings: Settings;
  readonly requests: RequestList;
  /** Requests that were restored into a device that came back broken. */
  parked: readonly ParkedRequest[] = [];
  /** Size of the disk in sectors of 512 bytes. */
  capacity: number;
  /** False if writes are flushed before they are reported. */
  writeCache: boolean;
  #host: DeviceHost | undefined;
  #paused = false;
  /**
   * First request that was taken and is to be begun when the ring is empty: as in QEMU, nothing is read or written
   * before all headers have been read.
   */
  #planned: Request | undefined;
  #lastPlanned: Request | undefined;
  /** Queue whose requests are being taken now: its driver is told of all of them at once. */
  #batch: Virtqueue | undefined;
  #batched = false;
  /**
   * Number of operations whose promise has not settled; {@link #bytesInFlight} are the bytes of theirs that the back end
   * holds.
   */
  #pending = 0;
  #bytesInFlight = 0;
  /** Number of bytes that were done at once since other parts of the program had their turn. */
  #bytesAtOnce = 0;
  #isDeferred = false;
  /** Number of pending operations that have lost their request by a reset of the driver. */
  #lost = 0;
  #idle: (() => void)[] = [];
  /** Copy of a header that lies in more than one piece. */
  readonly #header: Uint8Array = new Uint8Array(HEADER_BYTES);

  constructor(settings: Settings) {
    this.settings = settings;
    this.capacity = Math.ceil(settings.backend.size / SECTOR_BYTES);
    this.writeCache = settings.writeCache;
    this.requests = new RequestList((request, failed, error) => this.#settled(request, failed, error));
  }

  attach(host: DeviceHost): void {
    if (this.#host !== undefined) throw new HostError('this BlkDevice is in another device already');
    this.#host = host;
  }

  get host(): DeviceHost {
    if (this.#host === undefined) throw new HostError('this BlkDevice is in no device yet');
    return this.#host;
  }

  /** Takes what is available. The order is QEMU's: kicks off, take all, kicks on, look again. */
  handleQueue(queue: Virtqueue): void {
    if (this.#lost > 0 || this.#paused) return;
    // the driver may put in chains while we take them out, and one that knows how may do so for ever
    let budget = this.settings.requestMerging ? queue.size : INDEX_TURN;
    this.#bytesAtOnce = 0;
    const outer = this.#batch;
    const outerBatched = this.#batched;
    this.#batch = queue;
    this.#batched = false;
    try {
      do {
        queue.setNotification(false);
        budget = this.#takeAll(queue, budget);
        queue.setNotification(true);
      } while (budget > 0 && !queue.isEmpty());
      this.#beginPlanned();
      this.notifyBatch();
    } finally {
      this.#batch = outer;
      this.#batched = outerBatched;
    }
    if (budget === 0 && !queue.isEmpty()) this.#defer(queue);
  }

  /**
   * Has a queue looked at later. It is a method of its own because where a closure is made, its scope is allocated at
   * each call.
   */
  #defer(queue: Virtqueue): void {
    this.settings.defer(() => this.#proceed(queue));
  }

  /** Tells the driver of what was finished so far, of the queue that requests are being taken from. */
  notifyBatch(): void {
    if (!this.#batched) return;
    this.#batched = false;
    this.#batch?.notify();
  }

  /**
   * Takes requests from a queue until it is empty, or until the budget is used up. Answers what is left of the budget.
   */
  #takeAll(queue: Virtqueue, budget: number): number {
    let left = budget;
    while (left > 0) {
      const chain = queue.pop();
      if (chain === undefined) break;
      left--;
      if (!this.#start(this.requests.add(chain), chain)) break;
    }
    return left;
  }

  #proceed(queue: Virtqueue): void {
    const { host } = this;
    if (!host.running || host.queue(queue.index) !== queue) return;
    host.memory.sync();
    this.handleQueue(queue);
  }

  /** Does what a request says, from its first byte on. Answers false if the guest broke the device with it. */
  #start(request: Request, chain: Chain): boolean {
    const reason = malformed(chain);
    if (reason !== undefined) return this.#broken(request, chain, reason);
    const { out } = chain;
    const { littleEndian } = this.host;
    request.room = chain.in.total;
    let header = this.#header;
    let at = 0;
    if (out.length(0) >= HEADER_BYTES) {
      header = out.bytes(0);
      at = out.offset(0);
    } else out.copyTo(0, header);
    const type = word(header, at, littleEndian);
    if ((type & COMMAND) !== IN) return this.#command(request, chain, type);
    const { settings, capacity } = this;
    const write = (type & BLK_T.OUT) !== 0;
    request.operation = write ? 'write' : 'read';
    request.length = write ? out.total - HEADER_BYTES : request.room - 1;
    const status = parseTransfer(request, header, at, littleEndian, settings, capacity);
    const empty = request.length === 0 && settings.backend.wantsEmpty !== true;
    if (status !== BLK_S.OK || empty) this.#finish(request, status);
    else this.#plan(request);
    return true;
  }

  /** Takes a request that moves no sectors: a flush, an identity, a range to be discarded. */
  #command(request: Request, chain: Chain, type: number): boolean {
    const outward = (type & BLK_T.OUT) !== 0;
    switch (type & COMMAND) {
      case FLUSH:
        request.operation = 'flush';
        request.sector = 0;
        this.#plan(request);
        return true;
      case DISCARD:
        if (outward) return this.#ranges(request, chain, 'discard');
        this.#finish(request, getLifetime(chain, this.settings, this.host));
        return true;
      case WRITE_ZEROES:
        if (outward) return this.#ranges(request, chain, 'write-zeroes');
        break;
      case SECURE_ERASE:
        if (!outward && this.settings.secureErase.offered)
          return this.#ranges(request, chain, 'secure-erase');
        break;
      case GET_ID:
        this.#finish(request, getId(chain, this.settings));
        return true;
      case SCSI_CMD:
        this.#finish(request, scsiCommand(chain, this.host.littleEndian));
        return true;
    }
    // Virtio 1.3 §5.2.6.2 MUST: zone commands are UNSUPP where ZONED is not negotiated
    this.#finish(request, BLK_S.UNSUPP);
    return true;
  }

  #ranges(request: Request, chain: Chain, operation: 'discard' | 'write-zeroes' | 'secure-erase'): boolean {
    request.operation = operation;
    const status = parseRanges(request, chain, this.host.littleEndian, this.settings, this.capacity);
    if (status < 0) return this.#broken(request, chain, 'virtio-blk discard/write_zeroes header too short');
    if (status === BLK_S.OK) this.#plan(request);
    else this.#finish(request, status);
    return true;
  }

  #plan(request: Request): void {
    if (!this.settings.requestMerging) {
      const { operation } = request;
      const transfer = operation === 'read' || operation === 'write';
      if (transfer || (operation === 'flush' && this.#planned?.operation === 'write')) this.#beginPlanned();
      if (!transfer) {
        this.#issue(request);
        return;
      }
    }
    request.stage = 'planned';
    if (this.#lastPlanned === undefined) this.#planned = request;
    else this.#lastPlanned.planned = request;
    this.#lastPlanned = request;
  }

  /**
   * Begins the planned requests, as far as the bounds allow; the rest when something is done. It does so for a device
   * that has just been broken, too: QEMU has begun them by then.
   */
  #beginPlanned(): void {
    for (let request = this.#planned; request !== undefined; request = this.#planned) {
      // the error policy has stopped the machine: what is left is taken up again at resume
      if (this.#paused) {
        this.#unplan();
        return;
      }
      if (!this.#mayBegin(request)) return;
      this.#planned = request.planned;
      if (request.planned === undefined) this.#lastPlanned = undefined;
      request.planned = undefined;
      this.#issue(request);
    }
  }

  #mayBegin(request: Request): boolean {
    const { maxBytesInFlight } = this.settings;
    if (this.#bytesAtOnce >= maxBytesInFlight) {
      this.#beginLater();
      return false;
    }
    if (this.#pending === 0) return true;
    const bytes = this.#bytesInFlight + bytesOf(request, this.settings);
    return this.#pending < OPERATIONS_IN_FLIGHT && bytes <= maxBytesInFlight;
  }

  #beginLater(): void {
    if (this.#isDeferred) return;
    this.#isDeferred = true;
    this.settings.defer(() => {
      this.#isDeferred = false;
      this.#bytesAtOnce = 0;
      if (this.#paused || this.#lost > 0) return;
      this.host.memory.sync();
      this.#beginPlanned();
    });
  }

  /** Takes all requests out of the plan, and answers them. */
  #unplan(): Request[] {
    const list: Request[] = [];
    for (let request = this.#planned; request !== undefined; request = request.planned) list.push(request);
    for (const request of list) {
      request.planned = undefined;
      request.stage = 'taken';
    }
    this.#planned = undefined;
    this.#lastPlanned = undefined;
    return list;
  }

  #broken(request: Request, chain: Chain, reason: string): false {
    this.host.fault(reason, { queue: chain.queue.index, index: chain.index });
    // a fault may have been answered with a reset
    if (request.chain === chain) {
      chain.queue.detach(chain);
      this.#drop(request);
    }
    return false;
  }

  #drop(request: Request): void {
    this.requests.remove(request);
    this.requests.release(request);
  }

  #issue(request: Request): void {
    request.stage = 'running';
    let pending: Pending;
    try {
      pending = operate(this.settings, request, !this.writeCache, this.host.memory);
    } catch (error) {
      this.#completed(request, true, error);
      return;
    }
    if (pending === undefined) {
      this.#bytesAtOnce += workOf(request);
      this.#completed(request, false, undefined);
      return;
    }
    this.#pending++;
    request.bytesInFlight = bytesOf(request, this.settings);
    this.#bytesInFlight += request.bytesInFlight;
    if (request.operation === 'read') request.lent.outlive(this.host.memory);
    pending.then(request.resolve, request.reject);
  }

  /** Handles a promise of the back end that has settled. */
  #settled(request: Request, failed: boolean, error: unknown): void {
    this.host.memory.sync();
    this.#pending--;
    this.#bytesInFlight -= request.bytesInFlight;
    this.#completed(request, failed, error);
    if (this.#lost === 0) this.#beginPlanned();
    if (this.#pending > 0) return;
    for (const tell of this.#idle.splice(0)) tell();
  }

  #completed(request: Request, failed: boolean, error: unknown): void {
    if (request.stage === 'lost') {
      this.requests.release(request);
      this.#lost--;
      if (this.#lost === 0 && !this.#paused) this.#goOn();
    } else if (request.operation === 'read' && request.lent.missed) {
      request.stage = 'stopped';
      if (!this.#paused) {
        this.#again(request);
        this.#beginPlanned();
      }
    } else if (failed) this.#failed(request, error);
    else this.#finish(request, BLK_S.OK);
  }

  #failed(request: Request, error: unknown): void {
    const { operation, sector, chain } = request;
    const { rerror, werror, onStop } = this.settings;
    const code = errorCode(error);
    const action = actionFor(operation === 'read' ? rerror : werror, code);
    const queue = chain?.queue.index ?? 0;
    const reason = error instanceof Error ? error.message : String(error);
    if (action === 'stop') request.stage = 'stopped';
    else this.#finish(request, action === 'ignore' ? BLK_S.OK : BLK_S.IOERR);
    this.host.event('io-error', { operation, action, code, sector, queue, reason });
    if (action === 'stop') onStop?.({ queue, operation, sector, code });
  }

  /** Finishes a request: the driver is told, now or when the machine runs again. */
  #finish(request: Request, status: number): void {
    const { chain } = request;
    if (chain === undefined) return;
    if (this.#paused) {
      request.stage = 'done';
      request.status = status;
      return;
    }
    const { queue, in: into } = chain;
    const last = into.count - 1;
    into.bytes(last)[into.offset(last) + into.length(last) - 1] = status;
    // QEMU reports all that it may have written, also where it wrote only the status
    queue.push(chain, request.room);
    this.#drop(request);
    if (this.#batch === queue && this.settings.requestMerging) this.#batched = true;
    else queue.notify();
  }

  /** Starts a request once more. Answers false if the guest broke the device with it. */
  #again(request: Request): boolean {
    request.stage = 'taken';
    return request.chain === undefined || this.#start(request, request.chain);
  }

  pause(): void {
    this.#paused = true;
    for (let request = this.requests.first; request !== undefined; request = request.next) {
      if (request.stage === 'running') request.lent.hold(true);
    }
  }

  resume(): void {
    this.#paused = false;
    for (let request = this.requests.first; request !== undefined; request = request.next) {
      if (request.stage === 'running') request.lent.hold(false);
    }
    if (this.#lost === 0) this.#restart();
  }

  /** Begins what has waited, when no operation of before a reset is left. */
  #goOn(): void {
    const { host } = this;
    this.#restart();
    for (let index = 0; index < this.settings.queues && host.running; index++) {
      const queue = host.queue(index);
      if (queue !== undefined) this.handleQueue(queue);
    }
  }

  /** Delivers what has finished, and starts what waits: restored and stopped requests, oldest first. */
  #restart(): void {
    // their device is broken, and stays so until a reset forgets them
    this.parked = [];
    for (const request of this.requests.all()) {
      if (this.#paused) break;
      if (request.stage === 'done') this.#finish(request, request.status);
      else if ((request.stage === 'taken' || request.stage === 'stopped') && !this.#again(request)) {
        this.#purge();
        break;
      }
    }
    this.#beginPlanned();
  }

  /** Drops what was not looked at yet, since the device is broken. QEMU: `virtio_blk_process_queued_requests`. */
  #purge(): void {
    for (const request of this.requests.all()) {
      if (request.stage !== 'taken' && request.stage !== 'stopped') continue;
      if (request.chain !== undefined) request.chain.queue.detach(request.chain);
      this.#drop(request);
    }
  }

  /** Forgets requests in flight: of one queue, or of all. */
  forget(queue?: number): void {
    const planned = this.#unplan();
    for (const request of this.requests.all()) {
      const { chain, stage } = request;
      if (chain === undefined || (queue !== undefined && chain.queue.index !== queue)) continue;
      chain.queue.detach(chain);
      this.requests.remove(request);
      if (stage === 'running') {
        request.stage = 'lost';
        request.lent.takeBack();
        this.#lost++;
      } else this.requests.release(request);
    }
    for (const request of planned) if (request.chain !== undefined) this.#plan(request);
    this.parked = queue === undefined ? [] : this.parked.filter((parked) => parked.queue !== queue);
  }

  /** Waits until the back end has nothing to do any more. */
  idle(): Promise<void> {
    if (this.#pending === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }
}

/** Counts the bytes that the back end holds of a request while it is under way: one piece of it. */
function bytesOf({ operation, length }: Request, { maxTransfer }: Settings): number {
  return operation === 'read' || operation === 'write' ? Math.min(length, maxTransfer) : 0;
}

/** Counts the bytes that a request has the back end go through. */
function workOf({ operation, length, more }: Request): number {
  if (operation === 'flush') return 0;
  let work = length;
  if (more !== undefined) for (let i = 1; i < more.length; i += 3) work += more[i] ?? 0;
  return work;
}
