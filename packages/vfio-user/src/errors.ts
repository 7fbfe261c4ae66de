import { PeerError } from '@virtkit/linux';

/** A {@link PeerError} of vfio-user: the client said something after which nothing of it can be believed. The connection is closed. */
export class ClientError extends PeerError {
  /** The class's name. */
  override readonly name = 'ClientError';
}

/** Numbers of errors in replies, which are those of Linux. */
export const ERRNO = {
  ENOENT: 2,
  EEXIST: 17,
  EINVAL: 22,
  ENOSPC: 28,
  ENOTSUP: 95,
} as const;

/** Error for a command that is not carried out: its reply says so, and the connection goes on. */
export class Refusal extends PeerError {
  /** The class's name. */
  override readonly name = 'Refusal';
  /** Name of the error in the reply. */
  readonly errno: keyof typeof ERRNO;

  constructor(errno: keyof typeof ERRNO, message: string, facts: PeerError['facts'] = {}) {
    super(message, facts);
    this.errno = errno;
  }
}
