import { closeDescriptor, linux, PeerError, receive, send, type Watch } from '@virtkit/linux';
import type { Facts } from '@virtkit/vmstate';
import type { VhostUserDevice } from './device.ts';
import { FrontEndError } from './errors.ts';
import { Session } from './session/session.ts';
import { MessageReader } from './wire/reader.ts';
import { DESCRIPTORS_MAX } from './wire/requests.ts';

/** Number of messages that are handled before others have a turn. */
const MESSAGES_IN_A_ROW = 64;

/** Reason why a connection has ended. */
export interface Ending {
  /**
   * Kind of the end. `front-end-left`: the front end closed the connection. `front-end-fault`: it was closed here, for
   * what the front end said. `closed`: by the host program.
   */
  readonly name: 'front-end-left' | 'front-end-fault' | 'closed';
  readonly reason?: string;
  readonly facts?: Facts;
}

/** Connection with a front end: its socket, and what comes over it. */
export class Connection {
  readonly session: Session;
  readonly #fd: number;
  readonly #ended: (ending: Ending) => void;
  readonly #reader = new MessageReader();
  #watch: Watch | undefined;
  #open = true;

  /**
   * @param fd connected; it is the connection's from now on
   * @param ended is told once, when the socket is closed and the device has forgotten the front end
   */
  constructor(fd: number, device: VhostUserDevice, ended: (ending: Ending) => void) {
    this.#fd = fd;
    this.#ended = ended;
    this.session = new Session(device, linux, {
      send: (message, descriptors) => {
        // all answers together are shorter than the buffer of a socket, and a front end waits for each
        if (!send(fd, message, descriptors))
          throw new FrontEndError('the front end does not take its answers');
      },
      sendTo: send,
    });
    this.#listen();
  }

  close(): void {
    this.#end({ name: 'closed' });
  }

  #listen(): void {
    this.#watch = linux.watch(this.#fd, () => this.#readable());
  }

  #readable(): void {
    try {
      for (let count = 0; count < MESSAGES_IN_A_ROW && this.#open; count++) {
        const more = this.#next();
        if (more === false) return;
        if (more === true) continue;
        this.#watch?.close();
        more.then(
          () => {
            if (this.#open) this.#listen();
          },
          (error: unknown) => this.#failed(error),
        );
        return;
      }
    } catch (error) {
      this.#failed(error);
    }
  }

  /**
   * Takes what is there of a message. Answers true if there may be more, false if there is nothing now, a promise if a
   * message takes time.
   */
  #next(): boolean | Promise<void> {
    const reader = this.#reader;
    const { count, descriptors } = receive(this.#fd, reader.room, DESCRIPTORS_MAX);
    if (count < 0) return false;
    if (count === 0) {
      if (reader.started) throw new FrontEndError('the connection ended within a message');
      this.#end({ name: 'front-end-left' });
      return false;
    }
    const arrived = reader.took(count, descriptors);
    if (arrived === undefined) return true;
    return this.session.handle(arrived.message, arrived.descriptors) ?? true;
  }

  #failed(error: unknown): void {
    if (!(error instanceof PeerError)) throw error;
    this.#end({ name: 'front-end-fault', reason: error.message, facts: error.facts });
  }

  #end(ending: Ending): void {
    if (!this.#open) return;
    this.#open = false;
    this.#watch?.close();
    for (const descriptor of this.#reader.abandon()) closeDescriptor(descriptor);
    this.session.close();
    closeDescriptor(this.#fd);
    this.#ended(ending);
  }
}
