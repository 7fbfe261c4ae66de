import type { Gpa, GuestMemory, MemoryMap, MemoryRegion } from '../contract/memory.ts';
import type { ContractVersion } from '../contract/version.ts';
import { DirtyLog } from './dirty-log.ts';
import { HostError } from './errors.ts';
import { Mapping } from './mapping.ts';
import { MappedMemory } from './memory.ts';

const CONTRACT: ContractVersion = 1;

/** Memory maps of other owners that were met before, each with the object that core works with in its place. */
const adopted = new WeakMap<MemoryMap, AdoptedMemory>();

/**
 * Guest memory with all the accesses that devices and transports make, over any memory map: the same object for the same
 * map, and the map itself if it is a `MappedMemory` of this copy of the package.
 *
 * @throws HostError if it is no memory map, or one for another contract
 */
export function guestMemory(map: MemoryMap): GuestMemory {
  return mappedMemory(map);
}

/** Finds the object that {@link guestMemory} gives, with what only rings need of it. */
export function mappedMemory(map: MemoryMap): MappedMemory {
  if (map instanceof MappedMemory) return map;
  checkMap(map);
  let memory = adopted.get(map);
  if (memory === undefined) {
    memory = new AdoptedMemory(map);
    adopted.set(map, memory);
  }
  return memory;
}

function checkMap(map: Partial<MemoryMap> | undefined): void {
  if (map?.contract !== CONTRACT) {
    const found = map?.contract === undefined ? 'no contract' : `contract ${String(map.contract)}`;
    throw new HostError(
      `guest memory: ${found}, ${CONTRACT} expected; give a MappedMemory, or an object that implements MemoryMap`,
    );
  }
  const missing = (['sync', 'regionAt', 'markDirty'] as const).find(
    (name) => typeof map[name] !== 'function',
  );
  if (missing !== undefined)
    throw new HostError(`guest memory: it has no ${missing}(), which MemoryMap asks for`);
}

/**
 * A memory map of somebody else, as core works with it. Regions become known when they are first touched, and keep their
 * number then, as chains in flight ask. There are never more of them than the map has.
 */
class AdoptedMemory extends MappedMemory {
  readonly #map: MemoryMap;
  /** All regions that were ever met, by number. */
  readonly #known: Mapping[];
  /** Regions of the list {@link #known} by the address of their first byte. */
  readonly #byAddress: Map<number, Mapping> = new Map();
  /**
   * Regions that the program's memory no longer had when this epoch began: chains in flight may lie in their last
   * bytes.
   */
  readonly #gone: Set<Mapping> = new Set();
  #seen: number;
  #owner: number | undefined;

  constructor(map: MemoryMap) {
    super([]);
    this.#map = map;
    this.#known = this.mappings as Mapping[];
    this.#seen = map.epoch;
    this.#owner = map.owner;
    this.#followLog();
  }

  override sync(): void {
    const map = this.#map;
    map.sync();
    if (map.epoch === this.#seen && map.tracksWrites === this.tracksWrites) return;
    this.#seen = map.epoch;
    this.epoch++;
    this.forget();
    if (map.owner !== this.#owner) this.#forgetAll();
    for (const mapping of this.#known) {
      const region = map.regionAt(mapping.gpa);
      if (region?.gpa === mapping.gpa) this.#move(mapping, region);
      else {
        mapping.leave();
        this.#gone.add(mapping);
      }
    }
    this.#followLog();
  }

  protected override search(gpa: number): Mapping | undefined {
    const region = this.#map.regionAt(gpa);
    if (region === undefined) return undefined;
    const mapping = this.#byAddress.get(region.gpa) ?? this.#meet(region);
    if (this.#gone.has(mapping)) this.#move(mapping, region);
    if (gpa >= mapping.gpa && gpa < mapping.end) return mapping;
    throw new HostError(
      `guest memory: regionAt(0x${gpa.toString(16)}) gave a region of ${mapping.size} bytes at 0x${mapping.gpa.toString(16)}`,
    );
  }

  /**
   * Does memory begin at the address, and end before `length` bytes? Pages that follow each other are one memory for a
   * ring: how a program keeps it is its own affair.
   */
  override isCut(gpa: number, length: number): boolean {
    return this.at(gpa) !== undefined && !this.covers(gpa as Gpa, length);
  }

  override markDirty(gpa: Gpa, length: number): void {
    this.#map.markDirty(gpa, length);
  }

  /**
   * Forgets all regions, since the memory has another owner: nobody has a chain that lies in a region of the owner
   * before.
   */
  #forgetAll(): void {
    this.#owner = this.#map.owner;
    this.#known.length = 0;
    this.#byAddress.clear();
    this.#gone.clear();
  }

  #meet(region: MemoryRegion): Mapping {
    const { gpa } = region;
    const mapping = new Mapping(region);
    mapping.index = this.#known.length;
    this.#known.push(mapping);
    this.#byAddress.set(gpa, mapping);
    this.log?.setRegion(mapping.index, mapping.gpa, mapping.size);
    return mapping;
  }

  #move(mapping: Mapping, { bytes, readonly = false }: MemoryRegion): void {
    this.#gone.delete(mapping);
    mapping.move(bytes, readonly);
    this.log?.setRegion(mapping.index, mapping.gpa, mapping.size);
  }

  #followLog(): void {
    const map = this.#map;
    this.log = map.tracksWrites ? new DirtyLog((gpa, length) => map.markDirty(gpa, length)) : undefined;
    for (const { index, gpa, size } of this.#known) this.log?.setRegion(index, gpa, size);
  }
}
