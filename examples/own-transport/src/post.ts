import { type MessagePort, receiveMessageOnPort, type Transferable } from 'node:worker_threads';
import type { MessageBus } from './driver.ts';
import type { Answer, Event, Message } from './messages.ts';

/** Both ends of the way between two threads. Made by whoever starts them. */
export interface Post {
  /** Messages and their answers. */
  readonly calls: MessagePort;
  readonly events: MessagePort;
  /** One word, that counts answers: a driver sleeps on it, as its processor would in an access to a register. */
  readonly answered: SharedArrayBuffer;
}

/** Milliseconds after which a device that does not answer is given up. */
const PATIENCE_MS = 30_000;

export const portsOf = ({ calls, events }: Post): Transferable[] => [calls, events];

/** The driver's end. */
export function driverEnd({ calls, events, answered }: Post): MessageBus {
  const count = new Int32Array(answered);
  return {
    call(message: Message): Answer {
      const before = Atomics.load(count, 0);
      calls.postMessage(message);
      if (Atomics.wait(count, 0, before, PATIENCE_MS) === 'timed-out')
        throw new Error(`the device has not answered ${message.type}`);
      return receiveMessageOnPort(calls)?.message as Answer;
    },
    events(): Event[] {
      const taken: Event[] = [];
      for (let next = receiveMessageOnPort(events); next !== undefined; next = receiveMessageOnPort(events))
        taken.push(next.message as Event);
      return taken;
    },
  };
}

/** The device's end. */
export function deviceEnd({ calls, answered }: Post, receive: (message: Message) => Answer): void {
  const count = new Int32Array(answered);
  calls.on('message', (message: Message) => {
    calls.postMessage(receive(message));
    Atomics.add(count, 0, 1);
    Atomics.notify(count, 0);
  });
}
