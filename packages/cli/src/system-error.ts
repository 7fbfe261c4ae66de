const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory',
  ENOTDIR: 'a part of its path is no directory',
  EISDIR: 'is a directory',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOSPC: 'no space left on the device',
  EFBIG: 'the file would be too large',
  EIO: 'an input/output error',
  EDQUOT: 'the disk quota is used up',
  ENXIO: 'nobody listens there',
  ELOOP: 'too many symbolic links',
  ENAMETOOLONG: 'the name is too long',
  EADDRINUSE: 'the address is in use',
  EADDRNOTAVAIL: 'no address of this machine',
  ECONNREFUSED: 'nobody listens there',
  ECONNRESET: 'the other side broke the connection off',
  EPIPE: 'the other side closed the connection',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'the name cannot be resolved now',
  EHOSTUNREACH: 'the host cannot be reached',
  ENETUNREACH: 'the network cannot be reached',
  ETIMEDOUT: 'no answer in time',
};

/** Does an error come from the operating system? */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException & { readonly code: string } {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).code === 'string';
}

/**
 * Makes the error of what the system refused, in words and with the name that the user gave: `guest.mig: permission
 * denied`.
 */
export function systemError(name: string, error: unknown): Error {
  const message = error instanceof Error ? error.message : String(error);
  const reason = isSystemError(error) ? REASONS[error.code] : undefined;
  return new Error(`${name}: ${reason ?? message}`, { cause: error });
}
