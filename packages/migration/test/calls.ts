/** What a parser tells a sink, one line a call: to be compared in whole. */
import type { RamBlock, SectionHeader, StreamFinding, StreamSink } from '../src/events.ts';
import type { Vmdesc } from '../src/vmdesc-model.ts';

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const shown = (value: unknown): string =>
  JSON.stringify(value, (_key, part: unknown) => (typeof part === 'bigint' ? `${part}n` : part));

/** Writes the calls down. Pieces of what may come in pieces are joined. */
export class CallLog implements StreamSink {
  readonly #calls: string[] = [];
  #joined: { readonly name: string; readonly pieces: string[] } | undefined;

  /** The calls so far. */
  get calls(): readonly string[] {
    this.#flush();
    return [...this.#calls];
  }

  libvirt(header: unknown): void {
    this.#tell(`libvirt ${shown(header)}`);
  }
  header(version: number): void {
    this.#tell(`header ${version}`);
  }
  configuration(value: unknown): void {
    this.#tell(`configuration ${shown(value)}`);
  }
  section(header: SectionHeader): void {
    this.#tell(`section ${shown(header)}`);
  }
  body(bytes: Uint8Array, header: SectionHeader, offset: number): void {
    this.#tell(`body ${hexOf(bytes)} of ${header.idstr} at ${offset}`);
  }
  ramSize(total: bigint): void {
    this.#tell(`ramSize ${total}`);
  }
  ramBlock(block: RamBlock): void {
    this.#tell(`ramBlock ${shown(block)}`);
  }
  ramRegion(bytes: Uint8Array, start: number, end: number): void {
    this.#join('ramRegion', bytes.subarray(start, end));
  }
  ramPage(flags: number, offset: number, block: number): void {
    this.#tell(`ramPage 0x${flags.toString(16)} 0x${offset.toString(16)} of ${block}`);
  }
  ramData(bytes: Uint8Array, start: number, end: number): void {
    this.#join('ramData', bytes.subarray(start, end));
  }
  ramMark(flags: number, offset: number): void {
    this.#tell(`ramMark 0x${flags.toString(16)} 0x${offset.toString(16)}`);
  }
  footer(id: number): void {
    this.#tell(`footer ${id}`);
  }
  command(command: number, payload: Uint8Array): void {
    this.#tell(`command ${command} ${hexOf(payload)}`);
  }
  eof(): void {
    this.#tell('eof');
  }
  vmdesc(text: Uint8Array, read?: Vmdesc): void {
    this.#tell(`vmdesc ${Buffer.from(text).toString('latin1')} ${read === undefined ? 'not read' : 'read'}`);
  }
  trailing(bytes: Uint8Array): void {
    this.#join('trailing', bytes);
  }
  finding({ code, severity, layer, path, reason, facts, offset }: StreamFinding): void {
    this.#tell(`finding ${code} ${severity} ${layer} ${path} @${offset}: ${reason} ${shown(facts)}`);
  }

  #tell(line: string): void {
    this.#flush();
    this.#calls.push(line);
  }

  #join(name: string, bytes: Uint8Array): void {
    if (this.#joined?.name !== name) {
      this.#flush();
      this.#joined = { name, pieces: [] };
    }
    this.#joined?.pieces.push(hexOf(bytes));
  }

  #flush(): void {
    if (this.#joined === undefined) return;
    const { name, pieces } = this.#joined;
    const hex = pieces.join('');
    // long ones are told by their length and their first and last bytes, so that a failure can be read
    this.#calls.push(
      hex.length <= 64
        ? `${name} ${hex}`
        : `${name} ${hex.length / 2} bytes ${hex.slice(0, 16)} to ${hex.slice(-16)}`,
    );
    this.#joined = undefined;
  }
}

/** All that an error says, in one line; `no error` without one. */
export function errorOf(work: () => void): string {
  try {
    work();
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && 'facts' in error)) throw error;
    return `${error.code}: ${error.message} ${shown(error.facts)}`;
  }
  return 'no error';
}
