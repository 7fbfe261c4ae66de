/**
 * Data about what QEMU's versions and machine types accept, and answers from it.
 *
 * You bring:  QEMU's error messages, or the feature bits of a device.
 * You get:    what they mean, bit by bit, and which property or machine version decides.
 * Not here:   files and printing. The command `virtkit` (`@virtkit/cli`) has them.
 * @packageDocumentation
 */

export type { Explanation, LogContext, Verdict, Weight } from '@virtkit/core/qemu';
export { VERSIONS } from '@virtkit/core/qemu';
export { type Answer, answerOf } from './answer.ts';
export { checkInventory, type InventoryOptions } from './check/check-inventory.ts';
export { checkRunning, type RunningDevice, type RunningMachine } from './check/check-running.ts';
export { checkStream } from './check/check-stream.ts';
export {
  type ConvertedStream,
  convertStream,
  saveFor,
  stateFor,
  type WriteOptions,
} from './convert/write-for.ts';
export { type AskedQemu, askedDestination } from './destination/asked.ts';
export { askingCommand, type CommandLineOptions } from './destination/command-line.ts';
export {
  type DescribedMachine,
  describedTarget,
  type OutlinedMachine,
  outlinedTarget,
} from './destination/described.ts';
export type { Destination } from './destination/destination.ts';
export { deviceTypes } from './device-types.ts';
export { diffStreams, showJson } from './diff/diff-streams.ts';
export type { Difference } from './diff/difference.ts';
export type { DistributionMachine, MachineDifference, PackageSince } from './distributions/machine-row.ts';
export { DISTRIBUTION_MACHINES, distributionMachine } from './distributions/machine-types.ts';
export { RELEASES, type Release, releaseHas, releaseNamed } from './distributions/releases.ts';
export { type Diagnosis, diagnose, type Repeated } from './explain/diagnose.ts';
export { explain } from './explain/explain.ts';
export { bitsOf, featureControl, guessDevice } from './features/feature-control.ts';
export {
  HOST_FORMAT,
  type HostCompat,
  type HostFacts,
  type HostMachine,
  type HostQemu,
  parseHostFacts,
} from './host/host-facts.ts';
export { type PciByte, pciByte } from './pci-byte.ts';
export { type Override, parseTarget, type Target, type TargetOptions } from './target.ts';
export { unreadable } from './unreadable.ts';
