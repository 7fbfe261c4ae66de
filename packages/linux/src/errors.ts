import type { Facts } from '@virtkit/vmstate';

/**
 * Error of the process at the other end: it said something that its protocol does not allow, or handed over a file that
 * is not what it has to be. It never reaches a host program: the connection is closed, and an event tells why.
 */
export class PeerError extends Error {
  /** The class's name. */
  override readonly name: string = 'PeerError';
  /** Values that the error is about, by name. */
  readonly facts: Facts;

  /** @param message what is wrong, for a person */
  constructor(message: string, facts: Facts = {}) {
    super(message);
    this.facts = facts;
  }
}

/** Error of the operating system, which refused a call. */
export class SystemCallError extends Error {
  /** The class's name. */
  override readonly name = 'SystemCallError';
  /** Code of the error: `EADDRINUSE`, `ENOENT`, … */
  readonly code: string;
  /** Name of the call: `bind`. */
  readonly syscall: string;

  /** @param about what it was asked for: a path */
  constructor(syscall: string, code: string, about = '') {
    super(`${syscall}${about === '' ? '' : ` ${about}`}: ${code}`);
    this.syscall = syscall;
    this.code = code;
  }
}
