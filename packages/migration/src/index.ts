/**
 * QEMU's migration streams as a whole: sections, RAM, commands, vmdesc; and the virtio devices inside.
 *
 * You bring:  a stream, from memory, a file or a pipe; the layers to decode devices with.
 * You get:    its parts, in one pass and bounded memory; each virtio device with its transport, by its own bytes.
 * Not here:   files and sockets. The command `virtkit` (`@virtkit/cli`) has them.
 * @packageDocumentation
 */
export { type GlobalState, globalState, type TimerState, timers } from './companions.ts';
export { type Configuration, configuration } from './configuration.ts';
export { byVmdesc, describeSection, showValue } from './describe.ts';
export {
  type MappedRam,
  NullSink,
  type RamBlock,
  type SectionHeader,
  type SectionKind,
  type StreamFinding,
  type StreamSink,
} from './events.ts';
export { iommuOf } from './iommu.ts';
export { judgeStream } from './judge.ts';
export { COMPRESSIONS, type LibvirtHeader } from './libvirt.ts';
export { machineEndian, parseRamMap, ramLayout } from './machine-layout.ts';
export { type MappedLayout, mappedLayout } from './mapped-region.ts';
export {
  type ByteSource,
  type MigrationStream,
  parseStream,
  type RamBlockSummary,
  type RamSummary,
  readStream,
  StreamCollector,
  type StreamSection,
} from './model.ts';
export { StreamParser } from './parser.ts';
export type { ParserOptions, SectionJudge } from './parser-options.ts';
export { RamImage, type RamImageOptions, type RamPlacement } from './ram-image.ts';
export { type Registry, splitIdstr } from './registry.ts';
export { RoundTripCheck, TeeSink } from './verify.ts';
export {
  acceptVirtio,
  type DecodedVirtio,
  decodeVirtio,
  decodeVirtioState,
  findVirtio,
  titleOf,
  type VirtioDevice,
} from './virtio.ts';
export { parseVmdesc } from './vmdesc.ts';
export type { DescDevice, DescField, DescVmsd, Vmdesc } from './vmdesc-model.ts';
export { COMMAND, COMMANDS, RAM, TYPE } from './wire.ts';
export { StreamWriter } from './writer.ts';
