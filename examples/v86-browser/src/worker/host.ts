import {
  type ConsoleSize,
  GUESTS,
  type GuestName,
  type HostApi,
  type Listener,
  type MoveReport,
  type Phase,
  SLOTS,
  type Slot,
  type SlotView,
} from '../protocol.ts';
import { type Assets, loadAssets } from './assets.ts';
import { describe } from './describe.ts';
import { DiskFile } from './disk-file.ts';
import { Lan } from './lan.ts';
import { type Bundle, Machine, type MachineOptions } from './machine.ts';
import { getSaved, isSaved, putSaved, savedDisk } from './saved.ts';
import { Stopwatch } from './stopwatch.ts';
import { reasonOf, Tabs } from './tabs.ts';

const VIEW_EVERY = 100;

/** A place for a guest. */
interface Place {
  phase: Phase;
  guest: GuestName | undefined;
  machine: Machine | undefined;
  saved: boolean;
}

const nobody = (): Place => ({ phase: 'empty', guest: undefined, machine: undefined, saved: false });

/**
 * All of the emulation of a tab: two instances of v86, the disks of their guests, and the switch between them. It lives in a
 * worker, so that the page stays fluent, and because only workers may read and write files without waiting.
 */
export class Host implements Omit<HostApi, 'begin'> {
  readonly #places: Record<Slot, Place> = { 0: nobody(), 1: nobody() };
  readonly #disks: Readonly<Record<GuestName, DiskFile>> = {
    alice: new DiskFile('alice'),
    bob: new DiskFile('bob'),
  };
  readonly #lan = new Lan();
  readonly #tabs: Tabs;
  readonly #listener: Listener;
  readonly #assets: Promise<Assets> = loadAssets();
  /** One thing at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(id: string, listener: Listener) {
    this.#listener = listener;
    this.#assets.catch(() => {}); // told when a guest needs them
    this.#tabs = new Tabs(id, {
      offered: (guest) => this.#offered(guest),
      arrive: (bundle, steps) => this.#inTurn(() => this.#arrive(bundle, steps)),
      changed: (tabs) => listener.tabs(tabs),
    });
    this.#changed();
    setInterval(() => listener.view(SLOTS.map((slot) => this.#view(slot))), VIEW_EVERY);
  }

  /** Starts a guest with its own disk, from the snapshot if there is one. */
  start(slot: Slot, guest: GuestName, size: ConsoleSize): Promise<void> {
    return this.#inTurn(async () => {
      this.#demand(slot, 'empty');
      const place = await this.#occupy(slot, guest, 'loading');
      const disk = this.#disks[guest];
      try {
        const assets = await this.#assets;
        await disk.open();
        disk.disk.latency = 0;
        place.phase = 'booting';
        place.machine = await Machine.start(this.#options(assets, guest), size);
        place.phase = 'running';
      } catch (error) {
        this.#vacate(slot);
        disk.close();
        throw error;
      }
    });
  }

  input(guest: GuestName, text: string): void {
    this.#machineOf(guest)?.console.send(text);
  }

  latency(slot: Slot, ms: number): void {
    const { machine } = this.#places[slot];
    if (machine !== undefined) machine.disk.latency = ms;
  }

  /** Ends a guest. Its disk stays. */
  stop(slot: Slot): Promise<void> {
    return this.#inTurn(async () => {
      const { machine, guest } = this.#demand(slot, 'running');
      if (machine === undefined || guest === undefined) return;
      await machine.suspend();
      this.#disks[guest].close();
      await machine.destroy();
      this.#vacate(slot);
    });
  }

  /** Moves the guest to the other instance, in the midst of what it does. A guest that is there comes here. */
  move(from: Slot): Promise<MoveReport[]> {
    return this.#inTurn(async () => {
      const to: Slot = from === 0 ? 1 : 0;
      const leaving = this.#demand(from, 'running');
      const coming = this.#places[to];
      if (coming.phase !== 'empty') this.#demand(to, 'running');
      const assets = await this.#assets;
      const reports = [await this.#renew(assets, leaving, to)];
      if (coming.phase !== 'empty') reports.push(await this.#renew(assets, coming, from));
      this.#places[from] = coming;
      this.#places[to] = leaving;
      this.#changed();
      return reports;
    });
  }

  /** Moves a guest into a new v86. If that cannot be, it goes on in the old one. */
  async #renew(assets: Assets, place: Place, to: Slot): Promise<MoveReport> {
    const { machine, guest } = place;
    if (machine === undefined || guest === undefined) throw new Error('nobody there');
    const watch = new Stopwatch();
    const bundle = await this.#take(place, machine, watch);
    try {
      await this.#goOn(place, bundle, assets, watch);
    } catch (error) {
      await this.#giveBack(place, machine);
      throw error;
    }
    await machine.destroy();
    return report('moved', bundle, `instance ${to + 1}`, watch.steps);
  }

  /** Moves the guest to another tab. */
  moveToTab(slot: Slot, tab: string): Promise<MoveReport> {
    return this.#inTurn(async () => {
      const place = this.#demand(slot, 'running');
      const { machine, guest } = place;
      if (machine === undefined || guest === undefined) throw new Error('nobody there');
      await this.#tabs.offer(tab, guest);
      const watch = new Stopwatch();
      const bundle = await this.#take(place, machine, watch);
      try {
        const steps = await this.#tabs.deliver(tab, bundle, [...watch.steps]);
        await machine.destroy();
        this.#vacate(slot);
        return report('moved', bundle, `tab ${tab}`, steps);
      } catch (error) {
        await this.#giveBack(place, machine);
        throw error;
      }
    });
  }

  #offered(guest: GuestName): void {
    const slot = this.#free();
    if (slot === undefined) throw new Error('both instances there have a guest');
    if (this.#machineOf(guest) !== undefined) throw new Error(`${guest} is there already`);
  }

  async #arrive(
    bundle: Bundle,
    before: readonly { readonly name: string; readonly ms: number }[],
  ): Promise<readonly { readonly name: string; readonly ms: number }[]> {
    const slot = this.#free();
    if (slot === undefined) throw new Error('both instances there have a guest');
    const guest = bundle.guest.name;
    const watch = new Stopwatch();
    const place = await this.#occupy(slot, guest, 'loading');
    const disk = this.#disks[guest];
    try {
      this.#listener.screen(guest, bundle.screen);
      await this.#goOn(place, bundle, await this.#assets, watch);
    } catch (error) {
      this.#vacate(slot);
      disk.close();
      throw error;
    }
    const steps = [...before, ...watch.steps];
    this.#listener.report(report('arrived', bundle, `instance ${slot + 1}`, steps));
    return steps;
  }

  /** Keeps the state of a guest, with a copy of its disk as it is at this moment. */
  save(slot: Slot): Promise<MoveReport> {
    return this.#inTurn(async () => {
      const place = this.#demand(slot, 'running');
      const { machine, guest } = place;
      if (machine === undefined || guest === undefined) throw new Error('nobody there');
      const watch = new Stopwatch();
      const bundle = await this.#take(place, machine, watch);
      try {
        await this.#disks[guest].copy('to', savedDisk(guest));
        await putSaved(bundle);
        watch.lap('write files');
      } finally {
        await this.#giveBack(place, machine);
      }
      watch.lap('go on');
      place.saved = true;
      return report('saved', bundle, '', watch.steps);
    });
  }

  /** Goes back to the state that {@link save} kept, of the guest and of its disk. */
  restore(slot: Slot): Promise<MoveReport> {
    return this.#inTurn(async () => {
      const place = this.#demand(slot, 'running');
      const { machine, guest } = place;
      if (machine === undefined || guest === undefined) throw new Error('nobody there');
      const disk = this.#disks[guest];
      const watch = new Stopwatch();
      const bundle = await getSaved(guest);
      watch.lap('read state');
      await this.#take(place, machine, watch);
      try {
        await disk.copy('from', savedDisk(guest));
        watch.lap('copy disk');
        await this.#goOn(place, bundle, await this.#assets, watch);
      } catch (error) {
        // the disk is not what the running guest knew any more: it cannot go on
        disk.close();
        this.#vacate(slot);
        throw error;
      } finally {
        await machine.destroy();
      }
      this.#listener.screen(guest, bundle.screen);
      return report('restored', bundle, `instance ${slot + 1}`, watch.steps);
    });
  }

  /** The page closes. */
  leave(): void {
    this.#tabs.leave();
    for (const disk of Object.values(this.#disks)) disk.close();
  }

  /** Stops a guest, and closes its disk for the next who opens it. */
  async #take(place: Place, machine: Machine, watch: Stopwatch): Promise<Bundle> {
    place.phase = 'stopped';
    const bundle = await machine.suspend();
    watch.lap('stop and save');
    this.#disks[machine.guest.name].close();
    return bundle;
  }

  /** A guest that stopped somewhere goes on in a new v86. */
  async #goOn(place: Place, bundle: Bundle, assets: Assets, watch: Stopwatch): Promise<void> {
    const guest = bundle.guest.name;
    await this.#disks[guest].open();
    const options = { ...this.#options(assets, guest), screen: bundle.screen };
    const machine = await Machine.receive(options, bundle);
    watch.lap('restore');
    await machine.run();
    watch.lap('go on');
    place.machine = machine;
    place.phase = 'running';
  }

  /** It could not move: it goes on where it was. */
  async #giveBack(place: Place, machine: Machine): Promise<void> {
    const disk = this.#disks[machine.guest.name];
    try {
      disk.close();
      await disk.open();
      await machine.run();
      place.phase = 'running';
    } catch (error) {
      // somebody else has the disk: the guest is there, and must not be here too
      for (const slot of SLOTS) if (this.#places[slot] === place) this.#vacate(slot);
      await machine.destroy();
      throw error;
    }
  }

  #options(assets: Assets, guest: GuestName): MachineOptions {
    return {
      assets,
      guest: GUESTS[guest],
      disk: this.#disks[guest].disk,
      lan: this.#lan,
      onOutput: (bytes) => this.#listener.output(guest, bytes),
      onTrouble: (text) => this.#listener.say(`${guest}: ${text}`, 'trouble'),
    };
  }

  async #occupy(slot: Slot, guest: GuestName, phase: Phase): Promise<Place> {
    const place: Place = { phase, guest, machine: undefined, saved: false };
    this.#places[slot] = place;
    this.#changed();
    place.saved = await isSaved(guest);
    return place;
  }

  #vacate(slot: Slot): void {
    this.#places[slot] = nobody();
    this.#changed();
  }

  #changed(): void {
    const guests = SLOTS.flatMap((slot) => this.#places[slot].guest ?? []);
    this.#tabs.tell({ free: SLOTS.length - guests.length, guests });
  }

  #free(): Slot | undefined {
    return SLOTS.find((slot) => this.#places[slot].phase === 'empty');
  }

  #demand(slot: Slot, phase: Phase): Place {
    const place = this.#places[slot];
    if (place.phase !== phase) throw new Error(`instance ${slot + 1} is ${place.phase}, not ${phase}`);
    return place;
  }

  #machineOf(guest: GuestName): Machine | undefined {
    return SLOTS.map((slot) => this.#places[slot]).find((place) => place.guest === guest)?.machine;
  }

  #view(slot: Slot): SlotView {
    const { phase, guest, machine, saved } = this.#places[slot];
    return { slot, phase, guest, saved, latency: machine?.disk.latency ?? 0, devices: machine?.view() ?? [] };
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch((error: unknown) => this.#listener.say(reasonOf(error), 'trouble'));
    return done;
  }
}

function report(
  kind: MoveReport['kind'],
  { guest, machine, devices }: Bundle,
  to: string,
  steps: MoveReport['steps'],
): MoveReport {
  return {
    kind,
    guest: guest.name,
    to,
    machineBytes: machine.byteLength,
    devices: devices.map(({ name, bytes }) => describe(name, bytes)),
    steps,
  };
}
