import { HostError } from '@virtkit/core';
import { fromLatin1, latin1 } from '@virtkit/vmstate';
import type { DescDevice } from '../vmdesc-model.ts';

/** Length in bytes of a page: the unit of the dirty log and of RAM records in the stream. */
export const PAGE = 4096;
/** Longest machine name, in bytes, that a stream's reader believes. */
const NAME_MAX = 1024;

/** Piece of memory with a name that both hosts have: guest RAM, but also a ROM or video memory. */
export interface LiveRamBlock {
  /** Name of the block, such as `pc.ram`; up to 255 bytes. */
  readonly name: string;
  /** Size in bytes, a multiple of 4096, which does not change. */
  readonly length: number;
  /** Finds the array with the block's bytes as it is now; it may be another one at each call. */
  bytes(): Uint8Array;
}

/** Memory of a machine, and a log of what changes in it. */
export interface LiveRam {
  /** The blocks of memory, each with a name of its own. */
  readonly blocks: readonly LiveRamBlock[];
  /** Begins to log what anybody (processor, devices, the host program) writes. */
  startLog(): void;
  /** Ends the log: writes are no longer remembered. */
  stopLog(): void;
  /**
   * Tells the bytes that were written since the log was started or taken last, and forgets them. May tell more than was
   * written, never less: a write is logged when it has been done, not before.
   */
  takeDirty(visit: (block: number, offset: number, length: number) => void): void;
  /**
   * Copies one page of 4096 bytes as it is to be sent. It is called for each page when its turn comes; the bytes are
   * copied at once. Absent: the bytes of the block are sent. A log that compares has it, so that it compares with what
   * was sent.
   */
  snapshot?(block: number, offset: number): Uint8Array;
}

/**
 * State of a machine that is not RAM: a device, the processor, anything. Both hosts have the same sections, by name and
 * instance. {@link virtioSection}, {@link declaredSection} and {@link opaqueSection} make them.
 */
export interface LiveSection {
  /** Name of the section, such as `0000:00:02.0/virtio-blk`; up to 255 bytes. */
  readonly idstr: string;
  /** Number that tells apart several sections of the same name; default 0. */
  readonly instanceId?: number;
  /** Version that is written, and the newest that is read. */
  readonly versionId: number;
  /** Oldest version that is read; default {@link versionId}. */
  readonly minimumVersionId?: number;
  /** Encodes the state as it is now; the machine is stopped. */
  save(): Uint8Array;
  /**
   * Reads a state and checks it, against guest memory as well, which has arrived; changes nothing. The function that it
   * answers takes the state over, and must not fail.
   *
   * @throws StateError what speaks against it
   */
  load(body: Uint8Array, versionId: number): () => void;
  /**
   * Could these bytes be the whole body? A body has no length on the wire: it ends where a footer stands behind it, and
   * a guest can put the bytes of a footer into a device's registers.
   */
  accepts(body: Uint8Array): boolean;
  /**
   * Lengths that the body can have which begins with `bytes`, whatever stands behind it; an empty list if it cannot be
   * read. A section that has this method ends where its length says, whatever a guest has written into it; without,
   * what could end at two places is refused.
   */
  lengths?(bytes: Uint8Array): readonly number[] | undefined;
  /** Makes the section's entry in the vmdesc, without name and instance; default: bytes. */
  describe?(body: Uint8Array): Omit<DescDevice, 'name' | 'instance_id'>;
}

/** Machine as {@link sendLive} and {@link receiveLive} need it. */
export interface LiveMachine {
  /** Name of the machine type: what both hosts must be alike in besides RAM and sections. */
  readonly name: string;
  /** The guest's memory. */
  readonly ram: LiveRam;
  /** Sections of everything else that moves, in the order in which they are written and restored. */
  readonly sections: readonly LiveSection[];
  /**
   * Stops processor and devices. When it has returned, nothing writes guest memory, and nothing that this machine has
   * begun writes to what the machine shares with its successor: wait for a disk's operations under way, or fence them off.
   * May be called for a machine that is stopped.
   *
   * One that takes too long is not waited for: `resume` is called while it is under way, and once more when it has answered.
   */
  pause(): void | Promise<void>;
  /**
   * Lets the machine go on, whatever it was told before; may be called for a machine that runs, or has not stopped yet.
   * A machine whose `resume` throws does not run.
   */
  resume(): void | Promise<void>;
}

/** Checks a machine that is to be moved. @throws HostError for a machine that cannot be put into a stream */
export function checkMachine({ name, ram, sections }: LiveMachine): void {
  checkName('machine', name, NAME_MAX);
  if (ram.blocks.length === 0) throw new HostError('a machine without RAM blocks');
  const names = new Set<string>();
  for (const block of ram.blocks) {
    checkName('RAM block', block.name, 255);
    checkOnce(names, `RAM block "${block.name}"`);
    if (block.length <= 0 || block.length % PAGE !== 0 || !Number.isSafeInteger(block.length))
      throw new HostError(
        `RAM block "${block.name}" of ${block.length} bytes: a multiple of ${PAGE} expected`,
      );
    bytesOf(block);
  }
  for (const section of sections) {
    checkName('section', section.idstr, 255);
    checkOnce(names, `section "${section.idstr}" ${section.instanceId ?? 0}`);
    // the type byte of a part and the name of the RAM section mean something to a reader
    if (section.idstr === 'ram')
      throw new HostError('a section called "ram": that is the name of the memory');
  }
}

function checkName(what: string, name: string, limit: number): void {
  if (name.length > 0 && name.length <= limit && latin1(fromLatin1(name)) === name) return;
  throw new HostError(`${what} "${name}": 1 to ${limit} bytes of Latin-1 expected`);
}

function checkOnce(names: Set<string>, name: string): void {
  if (names.has(name)) throw new HostError(`${name} is there twice`);
  names.add(name);
}

/** Takes the bytes of a block. @throws HostError if there are not as many as it said */
export function bytesOf(block: LiveRamBlock): Uint8Array {
  const bytes = block.bytes();
  if (bytes.length === block.length) return bytes;
  throw new HostError(`RAM block "${block.name}" has ${bytes.length} bytes, and had ${block.length}`);
}

/** Makes the key by which a section is found again: no name has a line feed in it that matters. */
export function sectionKey({
  idstr,
  instanceId = 0,
}: {
  readonly idstr: string;
  readonly instanceId?: number;
}): string {
  return `${instanceId} ${idstr}`;
}

/**
 * Can the lengths of all these sections be told by their own declarations, so that nothing that a guest writes into
 * them makes them end elsewhere?
 */
export function isMeasured(sections: Iterable<LiveSection>): boolean {
  for (const { lengths } of sections) if (lengths === undefined) return false;
  return true;
}
