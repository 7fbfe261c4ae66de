/**
 * Suites for any transport and any device type: cases for every test runner, benches that say how a device is made and reached, worlds behind
 * it; and a suite for back ends of disks.
 *
 * @packageDocumentation
 */
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
