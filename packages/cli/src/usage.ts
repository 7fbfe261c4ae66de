/** Error for a wrong address or option: the user's mistake. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Is an error the user's mistake? */
export function isUsageError(error: unknown): boolean {
  return error instanceof UsageError;
}
