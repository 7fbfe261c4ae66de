import { PeerError } from '@virtkit/linux';

/** A {@link PeerError} of vhost-user: the front end said something that the protocol does not allow, or that it was not offered. */
export class FrontEndError extends PeerError {
  /** The class's name. */
  override readonly name = 'FrontEndError';
}
