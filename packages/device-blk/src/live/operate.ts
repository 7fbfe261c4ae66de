import type { GuestMemory } from '@virtkit/core/live';
import { ArraySpans } from '../disk/array-spans.ts';
import type { BlkBackend, Pending } from './backend.ts';
import type { Settings } from './options.ts';
import type { Request } from './request.ts';
import { HEADER_BYTES, SECTOR_BYTES } from './wire.ts';

const ZEROS = new ArraySpans(new Uint8Array(65536));

/**
 * Asks the back end for what a request wants. Throws what the back end throws.
 *
 * @param stable the write cache is off: what was written is flushed
 */
export function operate(settings: Settings, request: Request, stable: boolean, memory: GuestMemory): Pending {
  const { backend } = settings;
  const { chain } = request;
  const position = request.sector * SECTOR_BYTES;
  if (chain === undefined) return undefined;
  switch (request.operation) {
    case 'read':
      request.lent.lend(chain.in);
      return transfer(settings, request, memory);
    case 'write': {
      const pending = transfer(settings, request, memory);
      return stable ? flushAfter(backend, pending) : pending;
    }
    case 'flush':
      // Virtio 1.3 §5.2.6.2 MUST: what was completed before is stable when the flush is
      return backend.flush?.();
    default: {
      const pending = operateRanges(backend, request, position);
      return stable && request.operation === 'write-zeroes' ? flushAfter(backend, pending) : pending;
    }
  }
}

/** Reads or writes piece after piece, so that a back end has one piece of a request at a time. */
function transfer(settings: Settings, request: Request, memory: GuestMemory): Pending {
  for (let done = 0; ; ) {
    const pending = transferPiece(settings, request, done);
    done += settings.maxTransfer;
    if (pending !== undefined)
      return done >= request.length ? pending : transferRest(pending, settings, request, done, memory);
    if (done >= request.length) return undefined;
  }
}

/** Goes on with a transfer whose piece took longer than its call. After a reset no piece is begun any more. */
async function transferRest(
  first: Promise<void>,
  settings: Settings,
  request: Request,
  from: number,
  memory: GuestMemory,
): Promise<void> {
  await first;
  for (let done = from; done < request.length && request.chain !== undefined; done += settings.maxTransfer) {
    // it may have grown meanwhile
    memory.sync();
    if (request.operation === 'read' && request.lent.isHeld) request.lent.missed = true;
    // what did not arrive because the machine is stopped is read again from the start
    if (request.operation === 'read' && request.lent.missed) return;
    await transferPiece(settings, request, done);
  }
}

function transferPiece(settings: Settings, request: Request, from: number): Pending {
  const { backend, maxTransfer } = settings;
  const { operation, chain, lent } = request;
  if (chain === undefined) return undefined;
  const position = request.sector * SECTOR_BYTES + from;
  const length = Math.min(maxTransfer, request.length - from);
  if (operation === 'write') return backend.write(position, chain.out, HEADER_BYTES + from, length);
  return backend.read(position, lent, from, length);
}

/** Virtio 1.3 §5.2.6.2 MUST: with the write cache off, writes are stable before they are reported complete. */
function flushAfter(backend: BlkBackend, pending: Pending): Pending {
  if (backend.flush === undefined) return pending;
  return pending === undefined ? backend.flush() : pending.then(() => backend.flush?.());
}

/** Does the ranges of a request one after the other; the next begins when the one before has worked. */
function operateRanges(backend: BlkBackend, request: Request, position: number): Pending {
  const { operation, length, more } = request;
  const pending = operateRange(backend, operation, position, length, request.mayUnmap);
  if (more === undefined) return pending;
  const rest = (from: number): Pending => {
    for (let i = from; i < more.length; i += 3) {
      const [sector = 0, bytes = 0, unmap = 0] = more.slice(i, i + 3);
      const step = operateRange(backend, operation, sector * SECTOR_BYTES, bytes, unmap !== 0);
      if (step !== undefined) return step.then(() => rest(i + 3));
    }
    return undefined;
  };
  return pending === undefined ? rest(0) : pending.then(() => rest(0));
}

function operateRange(
  backend: BlkBackend,
  operation: Request['operation'],
  position: number,
  length: number,
  mayUnmap: boolean,
): Pending {
  if (length === 0 && backend.wantsEmpty !== true) return undefined;
  switch (operation) {
    case 'discard':
      return backend.discard?.(position, length);
    case 'secure-erase':
      return backend.secureErase?.(position, length);
    default:
      // Virtio 1.3 §5.2.6.2 MUST: zeroes are read afterwards, unmapped or not
      if (backend.writeZeroes !== undefined) return backend.writeZeroes(position, length, mayUnmap);
      return fillWithZeros(backend, position, length);
  }
}

function fillWithZeros(backend: BlkBackend, position: number, length: number): Pending {
  for (let done = 0; done < length; ) {
    const piece = Math.min(ZEROS.total, length - done);
    const pending = backend.write(position + done, ZEROS, 0, piece);
    done += piece;
    const at = done;
    if (pending !== undefined) return pending.then(() => fillWithZeros(backend, position + at, length - at));
  }
  return undefined;
}
