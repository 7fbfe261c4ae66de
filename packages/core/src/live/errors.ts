const brand: unique symbol = Symbol.for('virtkit.HostError') as never;

/**
 * A mistake of the host program: overlapping memory, a chain given back twice, a wrong option. Never thrown for anything
 * that a guest does. Use {@link isHostError} rather than `instanceof`: it works across two copies of the package.
 */
export class HostError extends Error {
  /** The class's name, which errors of other copies of the package have, too. */
  override readonly name = 'HostError';
  /** Marks errors of all copies of the package: {@link isHostError} looks for it. */
  readonly [brand] = true;
}

/** True for a {@link HostError} of this or any other copy of the package. */
export function isHostError(error: unknown): error is HostError {
  return typeof error === 'object' && error !== null && brand in error;
}
