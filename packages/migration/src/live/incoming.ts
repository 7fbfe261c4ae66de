import { hex, isStateError, StateError } from '@virtkit/vmstate';
import type { Configuration } from '../configuration.ts';
import { NullSink, type RamBlock, type SectionHeader, type StreamFinding } from '../events.ts';
import type { Vmdesc } from '../vmdesc-model.ts';
import { COMMAND, COMMANDS, RAM } from '../wire.ts';
import {
  bytesOf,
  type LiveMachine,
  type LiveRamBlock,
  type LiveSection,
  PAGE,
  sectionKey,
} from './machine.ts';
import { PING_HAND_OVER, wordOf } from './return-path.ts';
import { messageOf, Stop } from './stop.ts';

/** Limits of what is believed of a stream. */
export interface IncomingLimits {
  /** Largest number of pages, zero pages included, in all rounds together. */
  readonly maxPages: number;
}

/** Section that has arrived. */
interface Arrived {
  readonly section: LiveSection;
  readonly versionId: number;
  readonly body: Uint8Array;
}

/** Largest number of pings of a pre-copy: one at its beginning, one at its end, and some room. */
const PINGS_MAX = 16;
/** Largest number of commands of a pre-copy, pings included. */
export const COMMANDS_MAX = 64;

/** Collector of the sections of a stream for one machine: no other, none twice, in versions that are known. */
export class SectionSet extends NullSink {
  readonly #sections: ReadonlyMap<string, LiveSection>;
  readonly #arrived = new Map<string, Arrived>();

  constructor(machine: LiveMachine) {
    super();
    this.#sections = new Map(machine.sections.map((section) => [sectionKey(section), section]));
  }

  find(header: SectionHeader): LiveSection | undefined {
    return this.#sections.get(sectionKey(header));
  }

  override section(header: SectionHeader): void {
    const { kind, idstr, instanceId, versionId, offset } = header;
    const section = this.find(header);
    const place = { layer: 'stream', path: idstr, offset } as const;
    if (section === undefined)
      throw new StateError(
        'section',
        `section "${idstr}" ${instanceId}: this machine has none of that name and instance`,
        { idstr, instanceId },
        place,
      );
    if (kind !== 'full')
      throw new StateError(
        'section-kind',
        'the section comes in parts, which only RAM does',
        { kind },
        place,
      );
    const minimum = section.minimumVersionId ?? section.versionId;
    if (versionId < minimum || versionId > section.versionId)
      throw new StateError(
        'version',
        `section version ${versionId}, known: ${minimum} to ${section.versionId}`,
        { version: versionId, minimum, maximum: section.versionId },
        place,
      );
    if (this.#arrived.has(sectionKey(header)))
      throw new StateError('section-twice', 'the section comes twice', {}, place);
  }

  override body(bytes: Uint8Array, header: SectionHeader): void {
    const section = this.find(header);
    if (section === undefined) return;
    this.#arrived.set(sectionKey(header), { section, versionId: header.versionId, body: bytes.slice() });
  }

  /** Error for what the stream's vmdesc says against its sections: where it ends is then anybody's guess. */
  unaccounted: StateError | undefined;

  override finding({ code, reason, facts, path, offset }: StreamFinding): void {
    const error = new StateError(code, reason, facts, { layer: 'stream', path, offset });
    if (code === 'ambiguous') throw error;
    this.unaccounted ??= error;
  }

  /**
   * Reads and checks all sections. Answers the function that takes them over.
   * @throws StateError for what speaks against it, and for a section that has not come
   */
  load(): () => void {
    const missing = [...this.#sections].find(([key]) => !this.#arrived.has(key));
    if (missing !== undefined)
      throw new StateError(
        'section-missing',
        `section "${missing[1].idstr}" ${missing[1].instanceId ?? 0} did not come`,
        { idstr: missing[1].idstr, instanceId: missing[1].instanceId ?? 0 },
        { layer: 'stream' },
      );
    // in the machine's order, whatever the stream's was
    const applies = [...this.#sections.keys()].flatMap((key) => {
      const arrived = this.#arrived.get(key);
      return arrived === undefined ? [] : [loadOne(arrived)];
    });
    return () => {
      for (const apply of applies) apply();
    };
  }

  /** Does the other set have the same bytes? */
  equals(other: SectionSet): boolean {
    if (this.#arrived.size !== other.#arrived.size) return false;
    return [...this.#arrived].every(([key, { body, versionId }]) => {
      const twin = other.#arrived.get(key);
      return (
        twin?.versionId === versionId &&
        twin.body.length === body.length &&
        body.every((byte, index) => twin.body[index] === byte)
      );
    });
  }
}

function loadOne({ section, versionId, body }: Arrived): () => void {
  try {
    return section.load(body, versionId);
  } catch (error) {
    if (isStateError(error)) throw error.within(`${section.idstr} / `);
    throw new Stop('error', `${section.idstr}: ${messageOf(error)}`, error);
  }
}

/**
 * Receiver of a stream for one machine: memory goes where it belongs as it comes; everything else is kept until it is
 * whole.
 */
export class Incoming extends SectionSet {
  readonly #machine: LiveMachine;
  readonly #limits: IncomingLimits;
  /** RAM blocks in the order in which the stream has them. */
  readonly #blocks: LiveRamBlock[] = [];
  readonly #byName: ReadonlyMap<string, LiveRamBlock>;
  /** RAM block of the page that comes; {@link #at} is where in it the next byte belongs. */
  #block: LiveRamBlock | undefined;
  #at = 0;
  #isPage = false;
  #configured = false;
  #ramEnded = false;
  /** Number of pages that have come so far. */
  pages = 0;
  zeroPages = 0;
  /** True if the source listens for messages of the destination. */
  returnPath = false;
  /** Values of pings that were not answered yet. */
  readonly pings: number[] = [];
  #pingCount = 0;
  #commandCount = 0;
  /** True if a vmdesc has come that can be read, which is the last thing of a stream. */
  described = false;

  constructor(machine: LiveMachine, limits: IncomingLimits) {
    super(machine);
    this.#machine = machine;
    this.#limits = limits;
    this.#byName = new Map(machine.ram.blocks.map((block) => [block.name, block]));
  }

  override libvirt(): void {
    throw new StateError('libvirt', 'a file of libvirt, and no migration', {}, { layer: 'stream' });
  }

  override configuration({ name, capabilities = [], targetPageBits }: Configuration): void {
    this.#configured = true;
    const place = { layer: 'stream', path: 'configuration' } as const;
    const { name: own } = this.#machine;
    if (name !== own)
      throw new StateError(
        'machine',
        `Machine type received is '${name}' and local is '${own}'`,
        { received: name, local: own },
        place,
      );
    const [capability] = capabilities;
    if (capability !== undefined)
      throw new StateError(
        'capability',
        `capability ${capability} is on at the source, and not known here`,
        { capability },
        place,
      );
    if (targetPageBits !== undefined && targetPageBits !== 12)
      throw new StateError(
        'page-bits',
        `target pages of ${targetPageBits} bits, 12 are known`,
        { bits: targetPageBits },
        place,
      );
  }

  override section(header: SectionHeader): void {
    if (!this.#configured)
      throw new StateError(
        'machine',
        'the stream does not say for which machine it is',
        {},
        { layer: 'stream' },
      );
    if (header.idstr !== 'ram') {
      super.section(header);
      return;
    }
    const place = { layer: 'stream', path: 'ram', offset: header.offset } as const;
    if (this.#ramEnded) throw new StateError('ram-end', 'memory comes behind its end', {}, place);
    this.#ramEnded = header.kind === 'end';
  }

  override ramSize(total: bigint): void {
    const own = this.#machine.ram.blocks.reduce((sum, { length }) => sum + length, 0);
    if (total === BigInt(own)) return;
    throw ramError('ram-size', `${total} bytes of RAM, and this machine has ${own}`, { total, own });
  }

  override ramBlock({ name, length }: RamBlock): void {
    const block = this.#byName.get(name);
    if (block === undefined)
      throw ramError('ram-block', `Unknown ramblock "${name}", cannot accept migration`, { block: name });
    if (block.length !== length)
      throw ramError('ram-block', `Size mismatch: ${name}: ${hex(length)} != ${hex(block.length)}`, {
        block: name,
        received: length,
        local: block.length,
      });
    if (this.#blocks.includes(block))
      throw ramError('ram-block', `RAM block "${name}" comes twice`, { block: name });
    this.#blocks.push(block);
  }

  override ramPage(flags: number, offset: number, index: number): void {
    const kind = flags & ~RAM.CONTINUE;
    if (kind !== RAM.PAGE && kind !== RAM.ZERO)
      throw ramError(
        'ram-encoding',
        'the page is a delta or compressed, which only a QEMU unpacks: switch xbzrle and compress off',
        { flags, offset },
      );
    if (++this.pages > this.#limits.maxPages)
      throw ramError(
        'ram-rounds',
        `more than ${this.#limits.maxPages} pages of memory: the rounds have no end`,
        {
          limit: this.#limits.maxPages,
        },
      );
    const block = this.#blocks[index];
    if (block === undefined) throw ramError('ram-block', `RAM block number ${index} is not there`, { index });
    this.#block = block;
    this.#at = offset;
    this.#isPage = kind === RAM.PAGE;
    if (this.#isPage) return;
    this.zeroPages++;
    bytesOf(block).fill(0, offset, offset + PAGE);
  }

  override ramData(bytes: Uint8Array, start: number, end: number): void {
    if (!this.#isPage || this.#block === undefined) return;
    // asked for anew each time: a page may come in pieces, and memory be elsewhere when the next one comes
    bytesOf(this.#block).set(
      start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end),
      this.#at,
    );
    this.#at += end - start;
  }

  override ramMark(flags: number): void {
    if (flags === RAM.EOS) return;
    throw ramError('ram-flags', `RAM record with flags ${hex(flags)}: of RDMA or multifd`, { flags });
  }

  override command(command: number, payload: Uint8Array): void {
    const refuse = (reason: string): StateError =>
      new StateError(
        'command',
        `command ${COMMANDS[command] ?? command}: ${reason}`,
        { command, length: payload.length },
        { layer: 'stream' },
      );
    if (++this.#commandCount > COMMANDS_MAX) throw refuse(`more than ${COMMANDS_MAX} commands`);
    switch (command) {
      case COMMAND.OPEN_RETURN_PATH:
      case COMMAND.SWITCHOVER_START:
        if (payload.length !== 0) throw refuse(`${payload.length} bytes, 0 expected`);
        this.returnPath ||= command === COMMAND.OPEN_RETURN_PATH;
        return;
      case COMMAND.PING:
        if (payload.length !== 4) throw refuse(`${payload.length} bytes, 4 expected`);
        if (!this.returnPath) throw refuse('received with no return path');
        if (++this.#pingCount > PINGS_MAX) throw refuse(`more than ${PINGS_MAX} of them`);
        // that one is answered when everything was looked at
        if (wordOf(payload) !== PING_HAND_OVER) this.pings.push(wordOf(payload));
        return;
      default:
        throw refuse('postcopy or COLO, which are not known here');
    }
  }

  override vmdesc(_text: Uint8Array, read: Vmdesc | undefined): void {
    this.described = read !== undefined;
  }

  override trailing(bytes: Uint8Array): void {
    if (bytes.every((byte) => byte === 0)) return;
    throw new StateError(
      'trailing',
      `${bytes.length} bytes come behind the end of the stream, or it does not end there`,
      { bytes: bytes.length },
      { layer: 'stream' },
    );
  }

  /** Demands that all of memory was announced, and has come. @throws StateError */
  checkRam(): void {
    if (this.#ramEnded && this.#blocks.length === this.#byName.size) return;
    throw ramError('ram-missing', `${this.#blocks.length} RAM blocks came of ${this.#byName.size}`, {
      found: this.#blocks.length,
      expected: this.#byName.size,
    });
  }
}

function ramError(code: string, reason: string, facts: StateError['facts']): StateError {
  return new StateError(code, reason, facts, { layer: 'stream', path: 'ram' });
}
