import type { Facts } from '@virtkit/vmstate';

/**
 * The front end said something that the protocol does not allow, or that it was not offered. It never reaches a host program: the connection is
 * closed, and an event tells why.
 */
export class FrontEndError extends Error {
  /** The class's name. */
  override readonly name = 'FrontEndError';
  /** The values by name. */
  readonly facts: Facts;

  constructor(message: string, facts: Facts = {}) {
    super(message);
    this.facts = facts;
  }
}

/** The operating system refused a call. */
export class SystemCallError extends Error {
  /** The class's name. */
  override readonly name = 'SystemCallError';
  /** `EADDRINUSE`, `ENOENT`, … */
  readonly code: string;
  /** Name of the call: `bind`. */
  readonly syscall: string;

  constructor(syscall: string, code: string, about = '') {
    super(`${syscall}${about === '' ? '' : ` ${about}`}: ${code}`);
    this.syscall = syscall;
    this.code = code;
  }
}
