import { HostError } from '@virtkit/core';
import type { LiveMachine } from './machine.ts';

/** Use of a machine by a migration, or what became of it. A machine without one is its host's. */
type Use =
  | 'is being sent'
  | 'is being received'
  | 'has moved away'
  | 'may have moved away'
  | 'was received in part'
  | 'was asked to stop, and has not answered'
  | 'was asked to go on, and has not answered';

/** Uses of machines whose guests may run, or stop, at any moment: nothing can be done with them. */
const RESTLESS: ReadonlySet<Use> = new Set([
  'is being sent',
  'is being received',
  'was asked to stop, and has not answered',
  'was asked to go on, and has not answered',
]);

/** Use of each machine. A guest that is sent twice would run twice: a program that asks for it is mistaken. */
const uses = new WeakMap<LiveMachine, Use>();

/** Notes that a machine is being sent. @throws HostError if it has no guest to be sent */
export function claimForSending(machine: LiveMachine): void {
  const use = uses.get(machine);
  if (use !== undefined) throw new HostError(`machine "${machine.name}" ${use}: it cannot be sent`);
  uses.set(machine, 'is being sent');
}

/**
 * Notes that a machine is being received. @throws HostError if it is in use; a machine whose guest has gone may be
 * filled again
 */
export function claimForReceiving(machine: LiveMachine): void {
  const use = uses.get(machine);
  if (use !== undefined && RESTLESS.has(use))
    throw new HostError(`machine "${machine.name}" ${use}: it cannot be received`);
  uses.set(machine, 'is being received');
}

/** Notes what became of a machine; undefined: it is its host's again. */
export function release(machine: LiveMachine, use?: Use): void {
  if (use === undefined) uses.delete(machine);
  else uses.set(machine, use);
}

/**
 * Notes that a machine whose guest may have moved away has it after all. @throws HostError if the machine was put to
 * another use meanwhile
 */
export function reclaim(machine: LiveMachine): void {
  const use = uses.get(machine);
  if (use !== 'may have moved away')
    throw new HostError(
      `machine "${machine.name}" ${use ?? 'has gone on already, or was put to another use'}: it cannot be resumed`,
    );
  uses.delete(machine);
}
