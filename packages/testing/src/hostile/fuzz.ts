import {
  type DeviceEvent,
  type GuestMemory,
  type TransportParts,
  type VirtioState,
  virtioDevice,
} from '@virtkit/core';
import { GuestRam } from '../ram.ts';
import type { RingAddresses } from '../ring/ring.ts';
import type { DeviceBench, Machine, TransportBench, Workload, World } from '../suite/bench.ts';
import { Failure, Random } from '../suite/case.ts';
import type { RingMode } from '../suite/rings.ts';
import { ChangingMemory } from './changing-memory.ts';
import { pokeRing } from './memory.ts';
import { misplace, watched } from './placing.ts';
import { address, length, type Target } from './values.ts';

/** Setup of a hostile guest: what it is set upon. */
export interface HostileSetup<H, T extends TransportParts, D> {
  /** Transport under test. */
  readonly bench: TransportBench<H, T>;
  /** Device type under test. */
  readonly device: DeviceBench<D>;
  /** Format and features of the rings. */
  readonly rings: RingMode;
  /**
   * Guest memory over these bytes, from address 0 on; there may be more of it, say ROM. A {@link ChangingMemory} changes
   * while the guest is hostile, and stands still while a driver brings the device up, and in moves.
   */
  readonly map: (bytes: Uint8Array) => GuestMemory;
  /** Addresses worth aiming at besides rings: other regions of {@link map}, their ends, memory of a device. */
  readonly landmarks?: readonly number[];
  /** Features of the device type that the driver takes; default: those that it knows. */
  readonly features?: bigint;
  /**
   * Function that makes one access to the device that may be anything: {@link pokePci}, {@link pokeMmio}, {@link
   * pokeChannel}.
   */
  readonly poke: (host: H, ram: GuestRam, random: Random, target: Target) => void;
  /** Number of operations: accesses, writes into rings, kicks. */
  readonly operations: number;
  /** Seed of random operations; default 1. */
  readonly seed?: number;
  /** Source of decisions; default: numbers from {@link seed}. A fuzzer's input can be such a source. */
  readonly random?: Random;
  /**
   * Counts what has been done so far, in steps of any kind that depend on nothing but the guest: accesses to its
   * memory, bytes that went to the back end. It tells the most laborious operation. Without it nothing is measured.
   */
  readonly work?: () => number;
  /** Is called now and then, with how many operations were done. */
  readonly onProgress?: (operations: number) => void;
}

/** Report of a hostile guest's run. */
export interface HostileReport {
  /** Number of operations that were done. */
  readonly operations: number;
  /** Number of drivers that were brought up: each is a reset. */
  readonly lives: number;
  /** Number of faults of the guest that the device told of. */
  readonly faults: number;
  /** Set of different reasons of faults. */
  readonly reasons: ReadonlySet<string>;
  /** Number of times that the device has moved. */
  readonly moves: number;
  /** Number of states that could not be restored: the guest had changed its used index under the device. */
  readonly refused: number;
  /** Reasons of refused states, without the numbers in them. */
  readonly refusals: ReadonlySet<string>;
  /** Number of steps of `work` of the most laborious operation. */
  readonly hardest: number;
  /** Name of the most laborious operation. */
  readonly hardestName: string;
}

const RAM_BYTES = 0x98000;
const DRIVER_BYTES = 0x80000;
const LIFE_MAX = 600;
/** Number of operations on a broken device, about. */
const BROKEN_LIFE = 30;
/** Number of operations of which one gives way to back ends that answer promises. */
const PAUSE = 64;
/** Number of operations of which one is a move. */
const MOVE = 150;

/**
 * Sets a hostile guest upon a device: brings it up as a driver would, or with rings where none can be, then writes nonsense
 * everywhere, and again. Now and then the device is moved. The device must come up again after each reset, tell of at most
 * one fault in between, and never throw.
 *
 * @throws Failure if it does not, or whatever the device threw
 */
export async function hostile<H, T extends TransportParts, D>(
  setup: HostileSetup<H, T, D>,
): Promise<HostileReport> {
  const guest = new HostileGuest(setup);
  await guest.run();
  return guest.report();
}

/** Runs a driver's part, whose errors do not count: it has an opinion of what a device does after such treatment. */
function unlessDriver(act: () => void): void {
  try {
    act();
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    if (error.name === 'DriverError' || error instanceof Failure) return;
    if (!error.message.startsWith("the driver's memory")) throw error;
  }
}

/** Removes the numbers from a text: there are only so many texts then. */
function kindOf(text: string): string {
  return text.replace(/0x[0-9a-f]+|\d+/gi, '#');
}

class HostileGuest<H, T extends TransportParts, D> {
  readonly #setup: HostileSetup<H, T, D>;
  readonly #random: Random;
  readonly #world: World<D>;
  #bytes: Uint8Array;
  #ram: GuestRam;
  #machine: Machine<H, T, D>;
  #mapped: GuestMemory | undefined;
  #work: Workload | undefined;
  /** Addresses at which the device was told that the rings lie. */
  readonly #rings = new Map<number, RingAddresses>();
  #target: Target = { base: 0, end: RAM_BYTES, landmarks: [] };
  /**
   * Number of requests of which one is nonsense in this life: the others bring the device into states worth breaking.
   */
  #nonsense = 1;
  /** Number of faults since the device was last whole. */
  #faultsNow = 0;
  readonly #counts = {
    operations: 0,
    lives: 0,
    faults: 0,
    moves: 0,
    refused: 0,
    hardest: 0,
    hardestName: '',
  };
  readonly #reasons = new Set<string>();
  readonly #refusals = new Set<string>();

  constructor(setup: HostileSetup<H, T, D>) {
    this.#setup = setup;
    const seed = setup.seed ?? 1;
    this.#random = setup.random ?? new Random(seed);
    this.#world = setup.device.world(seed);
    this.#bytes = this.#memory();
    this.#ram = new GuestRam(this.#bytes);
    this.#machine = this.#build();
  }

  report(): HostileReport {
    return { ...this.#counts, reasons: this.#reasons, refusals: this.#refusals };
  }

  async run(): Promise<void> {
    const { operations, onProgress } = this.#setup;
    while (this.#counts.operations < operations) {
      await this.#settle();
      this.#bringUp(this.#random.chance(4));
      await this.#live(Math.min(1 + this.#random.below(LIFE_MAX), operations - this.#counts.operations));
      if (this.#counts.lives % 64 === 0) onProgress?.(this.#counts.operations);
    }
  }

  /**
   * Brings the device up from the reset on: with a driver that does everything right, and then the device must be as
   * good as new; or one that puts rings where it should not.
   */
  #bringUp(misplaced: boolean): void {
    const { bench, device, rings, features, seed = 1 } = this.#setup;
    const random = this.#random;
    this.#counts.lives++;
    this.#nonsense = random.pick([1, 1, 4, 20]);
    this.#world.forget?.();
    this.#rings.clear();
    this.#ram = new GuestRam(this.#bytes);
    const driver = bench.drive(() => this.#machine.host, this.#ram);
    const transport = watched(driver, (queue, right) => {
      // it was reset, just before
      this.#checkLife();
      this.#aim();
      const told = misplaced && random.chance(2) ? misplace(right, random, this.#target) : right;
      this.#rings.set(queue, told);
      return told;
    });
    const work = device.workload(
      {
        transport,
        ram: this.#ram,
        rings: rings.wishes,
        memory: DRIVER_BYTES,
        ...(features !== undefined && { features }),
      },
      this.#world,
      seed,
    );
    this.#work = work;
    if (misplaced) unlessDriver(() => work.start());
    else work.start();
    this.#aim();
    if (!misplaced && this.#machine.device.broken === true)
      throw new Failure('the device is broken before anything happened');
    this.#checkLife();
    const steps = (): void => {
      for (let index = 0; index < 4; index++) work.step(this.#counts.lives * 4 + index);
    };
    if (misplaced) unlessDriver(steps);
    else steps();
    this.#checkLife();
  }

  async #live(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const alive = this.#measured();
      this.#counts.operations++;
      if (!alive) return;
      this.#checkLife();
      if (this.#counts.operations % PAUSE === 0) await this.#settle();
      // a broken device does nothing, and that is soon tried enough
      if (this.#machine.device.broken === true && this.#random.chance(BROKEN_LIFE)) break;
    }
    if (this.#random.chance(6)) this.#move();
  }

  /** Does one operation. Answers false if the guest is no more. */
  #measured(): boolean {
    const { work } = this.#setup;
    if (this.#random.chance(MOVE)) return this.#move();
    const before = work?.() ?? 0;
    this.#change(true);
    const name = this.#act();
    this.#change(false);
    const done = (work?.() ?? 0) - before;
    if (done > this.#counts.hardest) Object.assign(this.#counts, { hardest: done, hardestName: name });
    return true;
  }

  #change(on: boolean): void {
    if (this.#mapped instanceof ChangingMemory) this.#mapped.changing = on;
  }

  #act(): string {
    const { poke } = this.#setup;
    const random = this.#random;
    switch (random.below(16)) {
      case 0:
      case 1:
      case 2:
        this.#send();
        return 'request';
      case 3:
      case 4:
      case 5:
        this.#pokeRing();
        return 'write to a ring';
      case 6:
      case 7:
        this.#kick();
        return 'kick';
      case 8:
        this.#world.tick();
        return 'back end';
      case 9:
        unlessDriver(() => this.#work?.step(4 * this.#counts.lives + random.below(64)));
        return 'proper request';
      case 10:
        this.#takeInterrupts();
        return 'interrupt';
      default:
        poke(this.#machine.host, this.#ram, random, this.#target);
        return 'access';
    }
  }

  #kick(): void {
    const virtio = this.#work?.virtio;
    if (virtio === undefined) return;
    const queue = this.#random.below(virtio.rings.size + 1);
    unlessDriver(() => virtio.transport.notify(queue, this.#random.next() & 0xffff));
  }

  /** Takes interrupts and what came back, and looks at none of it. */
  #takeInterrupts(): void {
    const virtio = this.#work?.virtio;
    if (virtio === undefined) return;
    unlessDriver(() => {
      virtio.transport.interrupts();
      for (const ring of virtio.rings.values()) {
        if (this.#random.chance(3)) ring.disableInterrupts();
        while (ring.take() !== undefined);
        if (this.#random.chance(2)) ring.enableInterrupts();
      }
    });
  }

  /** Writes into the memory that the device has for a ring. */
  #pokeRing(): void {
    const virtio = this.#work?.virtio;
    const queues = [...this.#rings];
    const [queue, addresses] = queues[this.#random.below(Math.max(1, queues.length))] ?? [0, undefined];
    const format = virtio?.rings.get(queue)?.format;
    if (virtio === undefined || addresses === undefined || format === undefined) return;
    const prey = { ring: { format, addresses }, littleEndian: virtio.littleEndian };
    pokeRing(this.#ram, this.#random, this.#target, prey);
  }

  /** Puts a request right into the ring; most are nonsense. */
  #send(): void {
    const virtio = this.#work?.virtio;
    if (virtio === undefined || virtio.rings.size === 0) return;
    const random = this.#random;
    const queue = random.pick([...virtio.rings.keys()] as [number, ...number[]]);
    const nonsense = random.chance(this.#nonsense);
    const out = random.below(4);
    const buffers = Array.from({ length: out + random.below(4) }, (_, i) => ({
      address: nonsense ? address(random, this.#target) : random.below(RAM_BYTES - 4096),
      length: nonsense ? length(random) : 1 + random.below(4096),
      writable: i >= out,
    }));
    // most headers are such as device types know
    const first = buffers[0];
    if (first !== undefined && first.address + 16 <= RAM_BYTES && random.chance(2))
      this.#ram.setU32(first.address, random.below(16), virtio.littleEndian);
    unlessDriver(() => {
      virtio.add(queue, buffers, undefined);
      virtio.ring(queue).publish();
      if (!random.chance(4)) virtio.notify(queue);
    });
  }

  /** Chooses where a hostile guest aims: at the rings, and what the setup names. */
  #aim(): void {
    const landmarks: number[] = [...(this.#setup.landmarks ?? [])];
    const driver = [...(this.#work?.virtio.rings.values() ?? [])].map(({ addresses }) => addresses);
    for (const { desc, driver: avail, device } of [...driver, ...this.#rings.values()])
      landmarks.push(desc, avail, device, desc + 4096);
    this.#target = { base: 0, end: RAM_BYTES, landmarks };
  }

  /** Demands at most one fault between two resets. Virtio 1.3 §2.1.2 has one NEEDS_RESET. */
  #checkLife(): void {
    if (this.#faultsNow > 1) throw new Failure(`${this.#faultsNow} faults without a reset in between`);
    if (this.#machine.device.broken !== true) this.#faultsNow = 0;
  }

  /** Moves the device. Answers false if it was refused, and the guest is no more. */
  #move(): boolean {
    const { bench, device } = this.#setup;
    const codec = virtioDevice(bench.layer, device.layer);
    const old = this.#machine;
    old.device.pause();
    const body = codec.encode(old.device.capture());
    const bytes = this.#memory(this.#bytes);
    const machine = this.#build(bytes, old.host);
    const faults = this.#faultsNow;
    let state: VirtioState<T, D>;
    try {
      state = codec.load(body);
      machine.device.restore(state);
    } catch (error) {
      if (!(error instanceof Error) || error.name !== 'StateError') throw error;
      // such a guest cannot be moved; it is thrown away
      this.#counts.refused++;
      this.#refusals.add(kindOf(error.message));
      this.#bytes = this.#memory();
      this.#faultsNow = 0;
      this.#machine = this.#build();
      return false;
    }
    if (faults > 0 && this.#faultsNow > faults) throw new Failure('a broken device tells of it again');
    this.#counts.moves++;
    this.#bytes = bytes;
    this.#ram.replace(bytes);
    this.#machine = machine;
    machine.device.resume();
    this.#checkLife();
    return true;
  }

  /** Makes guest memory: every other one at an odd place, where devices read and write it number by number. */
  #memory(contents?: Uint8Array): Uint8Array {
    const bytes = new Uint8Array(new ArrayBuffer(RAM_BYTES + 4), this.#random.below(2), RAM_BYTES);
    if (contents !== undefined) bytes.set(contents);
    return bytes;
  }

  async #settle(): Promise<void> {
    for (let i = 0; i < 4; i++) {
      this.#world.tick();
      await Promise.resolve();
    }
  }

  #build(bytes: Uint8Array = this.#bytes, from?: H): Machine<H, T, D> {
    const { bench, rings, map } = this.#setup;
    this.#mapped = map(bytes);
    this.#change(false);
    return bench.build(this.#world.connect(), {
      memory: this.#mapped,
      rings: rings.offered,
      onEvent: (event) => this.#onEvent(event),
      ...(from !== undefined && { from }),
    });
  }

  #onEvent({ name, reason = '' }: DeviceEvent): void {
    if (name !== 'fault') return;
    this.#counts.faults++;
    this.#faultsNow++;
    this.#reasons.add(kindOf(reason));
  }
}
