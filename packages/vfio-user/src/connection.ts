import {
  closeDescriptor,
  hangUp,
  hasLeft,
  linux,
  PeerError,
  receive,
  send,
  type Watch,
} from '@virtkit/linux';
import type { Facts } from '@virtkit/vmstate';
import type { VfioUserDevice } from './device.ts';
import { ClientError, type Refusal } from './errors.ts';
import { Session } from './session/session.ts';
import { DESCRIPTORS_MAX } from './wire/commands.ts';
import { MessageReader } from './wire/reader.ts';

/** Number of messages that are handled before others have a turn. */
const MESSAGES_IN_A_ROW = 64;

/** Reason why a connection has ended. */
export interface Ending {
  /**
   * Kind of the end. `client-left`: the client closed the connection. `client-fault`: it was closed here, for what the
   * client said. `closed`: by the host program.
   */
  readonly name: 'client-left' | 'client-fault' | 'closed';
  readonly reason?: string;
  readonly facts?: Facts;
}

/** Listener of a connection. */
export interface ConnectionEvents {
  /** Is told once that the socket is closed and the device has forgotten the client. */
  ended(ending: Ending): void;
  /** Is told that a command was not carried out; the connection goes on. */
  refused(refusal: Refusal): void;
}

/** Connection with a client: its socket, and what comes over it. */
export class Connection {
  readonly #fd: number;
  readonly #events: ConnectionEvents;
  readonly #session: Session;
  readonly #reader = new MessageReader();
  readonly #watch: Watch;
  #open = true;

  /** @param fd connected; it is the connection's from now on */
  constructor(fd: number, device: VfioUserDevice, events: ConnectionEvents) {
    this.#fd = fd;
    this.#events = events;
    this.#session = new Session(device, linux, {
      send: (message) => {
        // a client that waits for each of its replies never has a full socket
        if (send(fd, message) || hasLeft(fd)) return;
        throw new ClientError('the client does not take its replies');
      },
      refused: (refusal) => events.refused(refusal),
    });
    this.#watch = linux.watch(fd, () => this.#readable());
  }

  close(): void {
    this.#end({ name: 'closed' });
  }

  #readable(): void {
    try {
      for (let count = 0; count < MESSAGES_IN_A_ROW && this.#open; count++) if (!this.#next()) return;
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      this.#end({ name: 'client-fault', reason: error.message, facts: error.facts });
    }
  }

  /** Takes what is there of a message. Answers false if there is nothing now. */
  #next(): boolean {
    const reader = this.#reader;
    const { count, descriptors } = receive(this.#fd, reader.room, DESCRIPTORS_MAX);
    if (count < 0) return false;
    if (count === 0) {
      if (reader.started) throw new ClientError('the connection ended within a message');
      this.#end({ name: 'client-left' });
      return false;
    }
    if (reader.took(count, descriptors)) this.#session.handle(reader, reader.takeDescriptors());
    return true;
  }

  #end(ending: Ending): void {
    if (!this.#open) return;
    this.#open = false;
    this.#watch.close();
    for (const descriptor of this.#reader.takeDescriptors().splice(0)) closeDescriptor(descriptor);
    this.#session.close();
    // QEMU ends itself if something that it has sent is lost
    hangUp(this.#fd);
    this.#events.ended(ending);
  }
}
