import { HostError } from '@virtkit/core';
import { hookConfigPorts } from './config-ports.ts';
import { machineOf, type V86Cpu, type V86Emulator, type V86Machine } from './emulator.ts';
import { Lines } from './lines.ts';
import { Mmio } from './mmio.ts';
import { GuestRam } from './ram.ts';
import type { Running, Slot, SlotHost } from './slot.ts';
import { match, STATE_INDEX, save } from './snapshot.ts';

const hosts = new WeakMap<V86Emulator, Host>();

/** Finds what all devices attached to one emulator share. @throws HostError if it is no V86 */
export function hostOf(emulator: V86Emulator): Host {
  const known = hosts.get(emulator);
  if (known !== undefined) return known;
  const host = new Host(emulator);
  hosts.set(emulator, host);
  return host;
}

export class Host implements SlotHost {
  readonly ram = new GuestRam();
  /** Resolves when there is a machine. */
  readonly ready: Promise<void>;
  readonly slots = new Map<number, Slot>();
  #running: Running | undefined;
  #hooked = false;
  #goingBack = false;
  /** Errors that say why a slot could not be plugged when the machine came. */
  readonly #failures = new Map<Slot, unknown>();

  constructor(emulator: V86Emulator) {
    const machine = machineOf(emulator);
    if (machine !== undefined) {
      this.#connect(machine);
      this.ready = Promise.resolve();
      return;
    }
    this.ready = new Promise((resolve, reject) => {
      // comes before the first instruction, and before `initial_state` is restored
      emulator.add_listener('emulator-ready', () => {
        try {
          const made = machineOf(emulator);
          if (made === undefined) throw new HostError('emulator-ready, and v86 has no PCI bus');
          if (this.#running === undefined) this.#connect(made);
          resolve();
        } catch (error) {
          reject(error);
        }
      });
    });
    // each attachment has a promise of its own that tells
    this.ready.catch(() => {});
  }

  get running(): Running {
    if (this.#running === undefined) throw new HostError('v86 is not ready: wait for `ready` first');
    return this.#running;
  }

  /** Puts a device into its slot, now or when there is a machine. */
  add(slot: Slot): Promise<void> {
    const other = this.slots.get(slot.slot);
    if (other !== undefined) throw new HostError(`slot ${slot.slot} has a ${other.name} already`);
    if (this.#running !== undefined) slot.plug();
    this.slots.set(slot.slot, slot);
    if (this.#running !== undefined) {
      this.#hook();
      return Promise.resolve();
    }
    return this.ready.then(() => {
      if (this.#failures.has(slot)) throw this.#failures.get(slot);
    });
  }

  remove(slot: Slot): void {
    if (this.slots.get(slot.slot) !== slot) return;
    this.slots.delete(slot.slot);
    if (this.#running === undefined) return;
    slot.unplug();
  }

  /** Looks at states from now on, also while there is no device: one that has some is refused. */
  guard(): void {
    if (this.#running !== undefined) this.#hook();
  }

  #connect(machine: V86Machine): void {
    const mmio = new Mmio(machine.cpu);
    this.#running = { machine, mmio, lines: new Lines(machine.cpu, machine.pci, mmio) };
    this.ram.connect(machine.cpu);
    for (const slot of [...this.slots.values()]) {
      try {
        slot.plug();
      } catch (error) {
        this.slots.delete(slot.slot);
        this.#failures.set(slot, error);
      }
    }
    if (this.slots.size > 0) this.#hook();
  }

  /**
   * Hooks v86's functions for good: without a device the hooks pass everything on, except a state that has some. To put
   * back what was there before would take away what others have hooked since.
   */
  #hook(): void {
    if (this.#hooked) return;
    this.#hooked = true;
    const { machine } = this.running;
    const { cpu, pci } = machine;
    hookConfigPorts(cpu, pci, (bdf) => ((bdf & 7) === 0 ? this.slots.get(bdf >>> 3)?.target : undefined));
    const { reboot_internal, get_state, set_state } = cpu;
    cpu.reboot_internal = () => {
      for (const slot of this.slots.values()) slot.function.reset();
      reboot_internal.call(cpu);
    };
    cpu.get_state = () => {
      const state = get_state.call(cpu);
      if (this.slots.size > 0) state[STATE_INDEX] = save([...this.slots.values()]);
      return state;
    };
    cpu.set_state = (state) => this.#restore(state, (all) => set_state.call(cpu, all));
  }

  /** Restores a state whole, or refuses it and changes nothing. @throws StateError */
  #restore(state: unknown[], setState: (state: unknown[]) => void): void {
    const { machine } = this.running;
    const slots = [...this.slots.values()];
    const saved = match(state[STATE_INDEX], slots);
    // what a device refuses may be in guest memory, which is not there yet: so there is a way back
    const before = this.#goingBack ? undefined : machine.save_state();
    for (const { function: pci } of slots) pci.device.pause();
    try {
      forgetTscOffset(machine.cpu);
      setState(state);
      this.ram.memory.sync();
      for (const { restore } of saved) restore();
    } catch (error) {
      if (before !== undefined) this.#goBack(machine, before);
      throw error;
    }
    for (const { line } of slots) line?.again();
    for (const { function: pci } of slots) pci.device.resume();
  }

  #goBack(machine: V86Machine, before: ArrayBuffer): void {
    this.#goingBack = true;
    try {
      machine.restore_state(before);
    } finally {
      this.#goingBack = false;
    }
  }
}

/**
 * Sets v86's counter to what it reads: `set_tsc` takes the difference to the counter as it reads now, and not to the
 * host's clock, so that in an instance that has been restored before, time would jump by as much as it did then.
 */
function forgetTscOffset(cpu: V86Cpu): void {
  cpu.store_current_tsc();
  const [low = 0, high = 0] = cpu.current_tsc;
  cpu.set_tsc(low, high);
}
