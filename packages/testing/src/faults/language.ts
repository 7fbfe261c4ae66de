import { HostError } from '@virtkit/core';

/** Kind of a fault: what goes wrong with a request. */
export type FaultKind =
  | 'delay'
  | 'error'
  | 'never'
  | 'reorder'
  | 'lost-interrupt'
  | 'length'
  | 'needs-reset'
  | 'stuck'
  | 'bad-id'
  | 'bad-index'
  | 'torn'
  | 'flip';

/** Kind of a disk's requests that a fault can be for. */
export type FaultRequest = 'read' | 'write' | 'flush';

/** Rule by which a fault hits some of the requests that it is for. They are counted from 1 on, each fault's own. */
export type FaultWhen =
  | { readonly kind: 'range'; readonly first: number; readonly last: number }
  | { readonly kind: 'every'; readonly count: number }
  | { readonly kind: 'chance'; readonly percent: number };

/** Fault of a {@link FaultPlan}. */
export interface Fault {
  /** Kind of the fault: what goes wrong. */
  readonly kind: FaultKind;
  /**
   * Value of the fault. `delay`: milliseconds, the least and the most. `reorder`: answers that are held back together.
   * `length`: the least and the most that is told, or what is added if {@link relative}. `torn`: bytes of a write that
   * are kept. Other kinds have none.
   */
  readonly value: readonly [low: number, high: number];
  /** True if the value of `length` is added to the right one. */
  readonly relative: boolean;
  /** Kind of a disk's requests that the fault is for; absent: all. */
  readonly request?: FaultRequest;
  /** Number of the queue whose requests the fault is for; absent: all. */
  readonly queue?: number;
  /** Rule by which the fault hits some of these requests. */
  readonly when: FaultWhen;
}

/** Plan of faults: what a device does wrong, and when. See {@link parseFaults}. */
export interface FaultPlan {
  /** Faults in the order in which they are written. */
  readonly faults: readonly Fault[];
  /** Number that random choices come from: the same plan and the same requests give the same faults. */
  readonly seed: number;
}

interface KindRules {
  readonly value: 'none' | 'milliseconds' | 'count' | 'bytes' | 'length';
  /** Value that counts if it is left out. */
  readonly otherwise?: number;
  /** True if the fault happens in the disk's back end, and not in the device. */
  readonly ofDisk?: true;
}

const KINDS: Readonly<Record<FaultKind, KindRules>> = {
  delay: { value: 'milliseconds' },
  error: { value: 'none' },
  never: { value: 'none' },
  reorder: { value: 'count', otherwise: 4 },
  'lost-interrupt': { value: 'none' },
  length: { value: 'length' },
  'needs-reset': { value: 'none' },
  stuck: { value: 'none' },
  'bad-id': { value: 'none' },
  'bad-index': { value: 'none' },
  torn: { value: 'bytes', otherwise: 512, ofDisk: true },
  flip: { value: 'none' },
};

/** Largest number of faults of a plan. */
const FAULTS_MAX = 64;
/** Longest delay in milliseconds: a day. */
const DELAY_MAX = 86_400_000;
/** Largest number of answers that are held back at a time: more than a ring has. */
const REORDER_MAX = 1024;
const UINT32_MAX = 0xffff_ffff;
const FAULT =
  /^(?<kind>[a-z-]+)(?:=(?<value>[^:#@]*))?(?::(?<request>[^#@]*))?(?:#(?<queue>[^@]*))?(?:@(?<when>.*))?$/;

/** Does this fault happen in the back end of a disk? {@link faultyDisk} is for those, `faultyDevice` for the others. */
export function isOfDisk({ kind }: Fault): boolean {
  return KINDS[kind].ofDisk === true;
}

/**
 * Reads a plan: faults with `;` between them, `KIND[=VALUE][:REQUEST][#QUEUE][@WHEN]`, and `seed=NUMBER`. The README of this package has all kinds.
 *
 * ```ts
 * parseFaults('delay=10..50ms@10%; error:write@3; lost-interrupt#0@*7; seed=42');
 * ```
 *
 * @throws HostError that names the fault and what is wrong with it
 */
export function parseFaults(text: string): FaultPlan {
  const items = text
    .split(';')
    .map((item) => item.trim())
    .filter((item) => item !== '');
  if (items.length > FAULTS_MAX)
    throw new HostError(`${items.length} faults, at most ${FAULTS_MAX} expected`);
  const faults: Fault[] = [];
  let seed = 1;
  for (const item of items) {
    const [, number] = /^seed=(\d+)$/.exec(item) ?? [];
    if (number === undefined) faults.push(parseFault(item));
    else seed = whole(item, number, 0, UINT32_MAX);
  }
  if (faults.length === 0) throw new HostError(`'${text}' has no fault: ${Object.keys(KINDS).join(', ')}`);
  return { faults, seed };
}

function parseFault(item: string): Fault {
  const groups = FAULT.exec(item)?.groups;
  const kind = groups?.['kind'];
  if (groups === undefined || !isKind(kind))
    throw new HostError(`fault '${item}': one of ${Object.keys(KINDS).join(', ')} expected`);
  const { value, request, queue, when } = groups;
  if (request !== undefined && !isRequest(request))
    throw new HostError(`fault '${item}': read, write or flush expected behind ':'`);
  const rules = KINDS[kind];
  if (rules.ofDisk === true && queue !== undefined)
    throw new HostError(`fault '${item}': a disk's back end knows no queues`);
  if (kind === 'torn' && request !== undefined && request !== 'write')
    throw new HostError(`fault '${item}': only writes are torn`);
  if (kind === 'flip' && request !== undefined && request !== 'read')
    throw new HostError(`fault '${item}': of a disk's requests only reads bring bytes`);
  return {
    kind,
    value: parseValue(item, kind, value),
    relative: kind === 'length' && /^[+-]/.test(value ?? ''),
    ...(request !== undefined && { request }),
    ...(queue !== undefined && { queue: whole(item, queue, 0, 1023) }),
    when: parseWhen(item, when),
  };
}

function isKind(text: string | undefined): text is FaultKind {
  return text !== undefined && Object.hasOwn(KINDS, text);
}

function isRequest(text: string): text is FaultRequest {
  return text === 'read' || text === 'write' || text === 'flush';
}

function parseValue(item: string, kind: FaultKind, text: string | undefined): readonly [number, number] {
  const rules = KINDS[kind];
  if (rules.value === 'none') {
    if (text !== undefined) throw new HostError(`fault '${item}': ${kind} has no value`);
    return [0, 0];
  }
  if (text === undefined) {
    if (rules.otherwise === undefined) throw new HostError(`fault '${item}': ${kind}=NUMBER expected`);
    return [rules.otherwise, rules.otherwise];
  }
  switch (rules.value) {
    case 'milliseconds': {
      const [, low = '', high = low] = /^(\d+)(?:\.\.(\d+))?(?:ms)?$/.exec(text) ?? [];
      const least = whole(item, low, 0, DELAY_MAX);
      return [least, whole(item, high, least, DELAY_MAX)];
    }
    case 'count': {
      const count = whole(item, text, 2, REORDER_MAX);
      return [count, count];
    }
    case 'bytes': {
      const bytes = whole(item, text, 0, UINT32_MAX);
      return [bytes, bytes];
    }
    case 'length': {
      const [, sign = '', digits = ''] = /^([+-]?)(\d+)$/.exec(text) ?? [];
      const length = whole(item, digits, 0, UINT32_MAX) * (sign === '-' ? -1 : 1);
      return [length, length];
    }
  }
}

function parseWhen(item: string, text: string | undefined): FaultWhen {
  if (text === undefined) return { kind: 'every', count: 1 };
  const [, percent] = /^(\d+(?:\.\d+)?)%$/.exec(text) ?? [];
  if (percent !== undefined && Number(percent) <= 100) return { kind: 'chance', percent: Number(percent) };
  const [, every] = /^\*(\d+)$/.exec(text) ?? [];
  if (every !== undefined) return { kind: 'every', count: whole(item, every, 1, UINT32_MAX) };
  const [, first, to, last] = /^(\d+)(-(\d*))?$/.exec(text) ?? [];
  if (first === undefined)
    throw new HostError(
      `fault '${item}': a request (@3), some (@3-5, @3-), every n-th (@*7) or a chance (@2.5%) expected`,
    );
  const from = whole(item, first, 1, Number.MAX_SAFE_INTEGER);
  if (to === undefined) return { kind: 'range', first: from, last: from };
  const end =
    last === undefined || last === ''
      ? Number.POSITIVE_INFINITY
      : whole(item, last, from, Number.MAX_SAFE_INTEGER);
  return { kind: 'range', first: from, last: end };
}

function whole(item: string, text: string, least: number, most: number): number {
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= least && number <= most) return number;
  throw new HostError(`fault '${item}': '${text}' is no whole number from ${least} to ${most}`);
}
