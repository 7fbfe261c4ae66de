/**
 * Live migration between two hosts, over any connection: pre-copy in QEMU's format.
 *
 * You bring:  a machine (its RAM with a dirty log, its sections, how it stops and goes on), and a connection.
 * You get:    the machine at the other host, with a bounded standstill; at most one of the two runs, whatever fails.
 * Not here:   who may connect, and encryption: the connection's business. Disks: both hosts reach the same ones.
 * @packageDocumentation
 */
export { type ByteDuplex, type CancelSignal, type Clock, hostClock } from './live/duplex.ts';
export type { LiveMachine, LiveRam, LiveRamBlock, LiveSection } from './live/machine.ts';
export {
  channelDuplex,
  type DataChannelLike,
  type MessageDuplexOptions,
  type MessagePortLike,
  portDuplex,
} from './live/message-duplex.ts';
export type { LiveOptions } from './live/options.ts';
export { comparedRam, mappedRam } from './live/ram.ts';
export {
  type Arrived,
  type Failed,
  type ReceiveOptions,
  type ReceiveOutcome,
  type ReceiveProgress,
  receiveLive,
} from './live/receive.ts';
export {
  type DeclaredSectionOptions,
  declaredSection,
  type OpaqueSectionOptions,
  opaqueSection,
  type VirtioSectionOptions,
  virtioSection,
} from './live/sections.ts';
export {
  type Moved,
  type SendOptions,
  type SendOutcome,
  type Stayed,
  sendLive,
  type Unknown,
} from './live/send.ts';
export type { SendPhase, SendProgress } from './live/source.ts';
export type { StopReason } from './live/stop.ts';
