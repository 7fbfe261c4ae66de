/**
 * The other side of virtio devices, for tests and examples: a guest driver written from the specification, hosts for it to
 * run on, and suites that any transport and any device type can be put through.
 *
 * You bring:  a transport (`@virtkit/transport-*`, or your own) and a device type (`@virtkit/device-*`, or your own).
 * You get:    drivers for virtio-blk, virtio-net, virtio-rng and virtio-console that speak through registers or channel programs, on split and packed
 *             rings; a PCI bus, an MMIO slot, a channel machine; cases for every test runner: bring-up, I/O, resets,
 *             interrupts, moves at any moment, states that must be refused; a hostile guest.
 * Not here:   the devices themselves; a test runner.
 * @packageDocumentation
 */
export {
  BLK_DRIVER_FEATURES,
  BlkDriver,
  type BlkLayout,
  type BlkRequest,
  SECTOR,
} from './driver/blk.ts';
export {
  CONSOLE_DRIVER_FEATURES,
  CONSOLE_EVENT,
  CONSOLE_F,
  ConsoleDriver,
  type ConsoleDriverOptions,
  type ControlMessage,
  consoleQueues,
  type DriverPort,
  type Written,
} from './driver/console.ts';
export { NetDriver, type NetDriverOptions, netFeatures, type Received, type Sent } from './driver/net.ts';
export { CTRL, type CtrlRequest } from './driver/net-ctrl.ts';
export { NET_DRIVER_FEATURES, NET_F } from './driver/net-features.ts';
export type { NetHeader } from './driver/net-header.ts';
export { RNG_BLANK, RngDriver, type RngDriverOptions, type RngRequest } from './driver/rng.ts';
export { type DriverEvents, type DriverSetup, type RingWishes, VirtioDriver } from './driver/virtio.ts';
export { ChannelMachine, type ChannelSubsystemLike } from './host/channel-machine.ts';
export { MmioSlot, type MmioWindow } from './host/mmio-slot.ts';
export { type PciBar, PciBus, type PciBusFunction } from './host/pci-bus.ts';
export { type ByteRead, ChangingMemory, type ChangingOptions } from './hostile/changing-memory.ts';
export { pokeChannel, type WholeChannelSubsystem } from './hostile/channel.ts';
export { type HostileReport, type HostileSetup, hostile } from './hostile/fuzz.ts';
export { type Prey, pokeRing } from './hostile/memory.ts';
export { pokeMmio } from './hostile/mmio.ts';
export { pokePci } from './hostile/pci.ts';
export type { Target } from './hostile/values.ts';
export { type Allocator, Arena, GuestRam } from './ram.ts';
export { PackedRing } from './ring/packed.ts';
export type { Buffer, DriverRing, RingAddresses, RingOptions, Used } from './ring/ring.ts';
export { SplitRing } from './ring/split.ts';
export { bits, DriverError } from './spec.ts';
export { allCases } from './suite/all.ts';
export { type BackendBench, backendCases, type DiskBackend } from './suite/backend.ts';
export type {
  DeviceBench,
  Machine,
  MachineSetup,
  Movable,
  TransportBench,
  Workload,
  World,
} from './suite/bench.ts';
export { type BlkBenchOptions, BlkWork, blkBench } from './suite/blk-bench.ts';
export { type DiskTiming, DiskWorld, type TestDiskBackend } from './suite/blk-world.ts';
export { bringUpCases } from './suite/bring-up.ts';
export { type Case, checksum, Failure, Random, type Runner, register } from './suite/case.ts';
export { configCases } from './suite/config.ts';
export {
  type ConsoleBenchOptions,
  ConsoleWork,
  consoleBench,
  LinesWorld,
  type LineTiming,
  type TestGuestPort,
  type TestPortBackend,
} from './suite/console-bench.ts';
export type { Context } from './suite/context.ts';
export { interruptCases, pass } from './suite/interrupts.ts';
export { ioCases } from './suite/io.ts';
export { breakQueue, moveCases } from './suite/move.ts';
export { type NetBenchOptions, NetWork, netBench } from './suite/net-bench.ts';
export {
  type CableTiming,
  CableWorld,
  type TestNetBackend,
  type TestNetPort,
  type TestPacket,
} from './suite/net-world.ts';
export { refuseCases } from './suite/refuse.ts';
export { Rig, type RigOptions } from './suite/rig.ts';
export { RING_MODES, type RingMode } from './suite/rings.ts';
export {
  type EntropyTiming,
  EntropyWorld,
  type RngBenchOptions,
  RngWork,
  rngBench,
  type TestRngBackend,
} from './suite/rng-bench.ts';
export { CcwDriver, type CcwDriverOptions } from './transport/ccw.ts';
export type { ChannelInstructions } from './transport/channel-instructions.ts';
export {
  ChannelDriver,
  type ChannelStatus,
  succeeded,
} from './transport/channel-program.ts';
export { type IoInterruption, IoInterruptions } from './transport/io-interrupts.ts';
export { type MmioHost, MmioLegacyDriver, MmioModernDriver } from './transport/mmio.ts';
export { MsixDriver, type VectorPlan, vectorEach } from './transport/msix.ts';
export { type Bar, PciFunctionDriver, type VirtioCapability } from './transport/pci-function.ts';
export type { MsiMessage, PciHost } from './transport/pci-host.ts';
export { PciLegacyDriver } from './transport/pci-legacy.ts';
export { type PciDriverOptions, PciModernDriver } from './transport/pci-modern.ts';
export type { DriverTransport, Interrupts, Reach } from './transport/transport.ts';
