/**
 * Guests that break every rule: registers, channel programs, rings and requests with any values, and memory that changes while a device
 * reads it.
 *
 * @packageDocumentation
 */
export { type ByteRead, ChangingMemory, type ChangingOptions } from './hostile/changing-memory.ts';
export { pokeChannel, type WholeChannelSubsystem } from './hostile/channel.ts';
export { type HostileReport, type HostileSetup, hostile } from './hostile/fuzz.ts';
export { type Prey, pokeRing } from './hostile/memory.ts';
export { pokeMmio } from './hostile/mmio.ts';
export { pokePci } from './hostile/pci.ts';
export type { Target } from './hostile/values.ts';
