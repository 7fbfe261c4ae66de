/**
 * The other side of the wire: guest drivers that speak through real registers and channel programs, machines of a few lines,
 * and suites that run over every transport, ring and device.
 *
 * You bring:  a transport or a device type, virtkit's or your own; a test runner.
 * You get:    drivers for virtio-blk and virtio-net on PCI, MMIO and channel I/O, split and packed; cases to run.
 * Not here:   a CPU. The guest is TypeScript.
 * @packageDocumentation
 */
export { BlkDriver, type BlkLayout, type BlkRequest, SECTOR } from './driver/blk.ts';
export { NetDriver, type NetDriverOptions, type Received, type Sent } from './driver/net.ts';
export { type DriverEvents, type DriverSetup, type RingWishes, VirtioDriver } from './driver/virtio.ts';
export { ChannelMachine, type ChannelSubsystemLike } from './host/channel-machine.ts';
export { MmioSlot, type MmioWindow } from './host/mmio-slot.ts';
export { type PciBar, PciBus, type PciBusFunction } from './host/pci-bus.ts';
export { type Allocator, Arena, GuestRam } from './ram.ts';
export { DriverError } from './spec.ts';
export { allCases } from './suite/all.ts';
export type { DeviceBench, Machine, MachineSetup, TransportBench, Workload, World } from './suite/bench.ts';
export { type BlkBenchOptions, blkBench } from './suite/blk-bench.ts';
export { type Case, type Runner, register } from './suite/case.ts';
export { type NetBenchOptions, netBench } from './suite/net-bench.ts';
export { Rig, type RigOptions } from './suite/rig.ts';
export { RING_MODES, type RingMode } from './suite/rings.ts';
export { CcwDriver, type CcwDriverOptions } from './transport/ccw.ts';
export { MmioLegacyDriver, MmioModernDriver } from './transport/mmio.ts';
export { PciLegacyDriver } from './transport/pci-legacy.ts';
export { type PciDriverOptions, PciModernDriver } from './transport/pci-modern.ts';
export type { DriverTransport, Interrupts, Reach } from './transport/transport.ts';
