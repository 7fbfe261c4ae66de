/** Part of the system that an error belongs to. */
export type Layer = 'stream' | 'core' | 'transport' | 'device';

/** The values an error is about, by name: what was found, what was allowed. */
export type Facts = Readonly<Record<string, number | bigint | string | boolean>>;

const brand: unique symbol = Symbol.for('virtkit.StateError') as never;

/** Place where an error happened. All parts are optional; they are added on the way up. */
export interface Place {
  /** Layer whose part of the state is concerned. */
  readonly layer?: Layer | undefined;
  /** Path of the field from the outside in, such as `queues[1].lastAvailIdx`. */
  readonly path?: string | undefined;
  /** Byte offset of the field in the input (absolute, if the reader knows its own base). */
  readonly offset?: number | undefined;
}

/**
 * The only exception that the virtkit packages throw for bad input or a state that cannot be written.
 *
 * `code` is stable and for programs, `facts` are the values compared, `path` and `offset` say where. The message
 * holds all of it. Use {@link isStateError} rather than `instanceof`: it works across two copies of the package.
 */
export class StateError extends Error {
  /** The class's name, which errors of other copies of the package have, too. */
  override readonly name = 'StateError';
  /** Marks errors of all copies of the package: {@link isStateError} looks for it. */
  readonly [brand] = true;
  /** Short name of the kind of error, for programs; it does not change: `truncated`. */
  readonly code: string;
  /** Values that the error is about, by name. */
  readonly facts: Facts;
  /** Sentence that says what is wrong, without the place. */
  readonly reason: string;
  /** Layer whose part of the state is concerned; undefined: not known. */
  readonly layer: Layer | undefined;
  /** Path of the field in the state: `queues[1].lastAvailIdx`; empty: not known. */
  readonly path: string;
  /** Byte offset in the input; undefined: not known. */
  readonly offset: number | undefined;

  constructor(code: string, reason: string, facts: Facts = {}, place: Place = {}) {
    super(compose(reason, place));
    this.code = code;
    this.reason = reason;
    this.facts = facts;
    this.layer = place.layer;
    this.path = place.path ?? '';
    this.offset = place.offset;
  }

  /**
   * Makes this error as it is seen from further out: `segment` goes in front of the path; layer and offset stay if
   * known.
   */
  within(segment: string, layer?: Layer, offset?: number): StateError {
    const place: Place = {
      layer: this.layer ?? layer,
      path: joinPath(segment, this.path),
      offset: this.offset ?? offset,
    };
    return new StateError(this.code, this.reason, this.facts, place);
  }
}

/** True for a {@link StateError} of this or any other copy of the package. */
export function isStateError(error: unknown): error is StateError {
  return typeof error === 'object' && error !== null && brand in error;
}

/**
 * Runs `body`; a {@link StateError} that escapes gets `segment` put in front of its path, anything else passes.
 * For the few outer levels; the declarations do the same inline, where it costs nothing.
 */
export function inside<T>(segment: string, layer: Layer | undefined, body: () => T): T {
  try {
    return body();
  } catch (error) {
    throw isStateError(error) ? error.within(segment, layer) : error;
  }
}

/** Joins two parts of a path: `a` + `b` → `a.b`; `a` + `[1].b` → `a[1].b`; `device / ` + `a` → `device / a`. */
export function joinPath(outer: string, inner: string): string {
  if (outer === '' || inner === '') return outer + inner;
  return inner.startsWith('[') || outer.endsWith(' / ') ? outer + inner : `${outer}.${inner}`;
}

/** Writes a number in hexadecimal, as people who read dumps do. */
export function hex(value: number | bigint): string {
  return value < 0 ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
}

function compose(reason: string, place: Place): string {
  const path = place.path ? `${place.path}: ` : '';
  const layer = place.layer === undefined ? '' : `${place.layer}: `;
  const offset = place.offset === undefined ? '' : ` (at byte ${hex(place.offset)})`;
  return `${layer}${path}${reason}${offset}`;
}
