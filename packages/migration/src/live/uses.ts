import { HostError } from '@virtkit/core';
import type { LiveMachine } from './machine.ts';

/** What a machine is used for, or what became of it. Absent: it is its host's. */
type Use =
  | 'is being sent'
  | 'is being received'
  | 'has moved away'
  | 'may have moved away'
  | 'was received in part'
  | 'was asked to stop, and has not answered'
  | 'was asked to go on, and has not answered';

/** Whose guest may run, or stop, at any moment: nothing can be done with them. */
const RESTLESS: ReadonlySet<Use> = new Set([
  'is being sent',
  'is being received',
  'was asked to stop, and has not answered',
  'was asked to go on, and has not answered',
]);

/** A guest that is sent twice would run twice: a program that asks for it is mistaken. */
const uses = new WeakMap<LiveMachine, Use>();

/** @throws HostError if this machine has no guest to be sent */
export function claimForSending(machine: LiveMachine): void {
  const use = uses.get(machine);
  if (use !== undefined) throw new HostError(`machine "${machine.name}" ${use}: it cannot be sent`);
  uses.set(machine, 'is being sent');
}

/** @throws HostError if this machine is in use; one whose guest has gone may be filled again */
export function claimForReceiving(machine: LiveMachine): void {
  const use = uses.get(machine);
  if (use !== undefined && RESTLESS.has(use))
    throw new HostError(`machine "${machine.name}" ${use}: it cannot be received`);
  uses.set(machine, 'is being received');
}

/** What became of it; undefined: it is its host's again. */
export function release(machine: LiveMachine, use?: Use): void {
  if (use === undefined) uses.delete(machine);
  else uses.set(machine, use);
}

/** Its guest is here after all. @throws HostError if the machine was put to another use meanwhile */
export function reclaim(machine: LiveMachine): void {
  const use = uses.get(machine);
  if (use !== 'may have moved away')
    throw new HostError(
      `machine "${machine.name}" ${use ?? 'has gone on already, or was put to another use'}: it cannot be resumed`,
    );
  uses.delete(machine);
}
