/**
 * What QEMU's versions and machine types accept, as data; and answers from it.
 *
 * You bring:  QEMU's error messages, or the feature bits of a device.
 * You get:    what they mean, bit by bit, and which property or machine version decides.
 * Not here:   files and printing. The command `virtkit` (`@virtkit/cli`) has them.
 * @packageDocumentation
 */

export { checkStream } from './check.ts';
export {
  bitsOf,
  type DeviceKind,
  type FeatureControl,
  type FeatureKind,
  featureControl,
  guessDevice,
  isFeatureKind,
} from './control.ts';
export { type Converted, convertState } from './convert.ts';
export { type AskedQemu, askedDestination } from './destination/asked.ts';
export { askingCommand, type CommandLineOptions } from './destination/command-line.ts';
export type { Destination, DestinationDevice } from './destination/destination.ts';
export { type Difference, diffStreams, showJson, type Weight } from './diff.ts';
export { type ExplainedFeature, type Explanation, explain, type LogContext } from './explain.ts';
export { type PciByte, pciByte } from './pci-byte.ts';
export { type Override, parseTarget, type Target, type TargetOptions } from './target.ts';
export { unreadable } from './unreadable.ts';
export { type Answer, answerOf, type Verdict } from './verdict.ts';
export { type QemuVersion, VERSIONS, versionRow } from './versions.ts';
export {
  type ConvertedStream,
  convertStream,
  saveFor,
  stateFor,
  type WriteOptions,
} from './write-for.ts';
