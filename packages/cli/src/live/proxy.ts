import type { Socket } from 'node:net';
import {
  acceptVirtio,
  COMMAND,
  type SectionHeader,
  StreamCollector,
  StreamParser,
  type StreamSection,
  titleOf,
} from '@virtkit/migration';
import { isStateError } from '@virtkit/vmstate';
import { type Checked, checkDevices, findingsOf } from '../device.ts';
import { registry } from '../registry.ts';
import { chunksOf } from './address.ts';
import { handOn, written } from './flow.ts';
import { Held } from './held.ts';

/** Ending of a migration through the proxy. */
export interface Proxied {
  readonly bytes: number;
  /** Sentence that says why the device state was not handed on; undefined: it was. */
  readonly refused: string | undefined;
  /** Name of the connection that broke, if one did. */
  readonly broken: string | undefined;
  /** Devices that went by, when their state was read. */
  readonly devices: readonly Checked[];
  /** True if nothing was held back: postcopy switches over before its device state is whole. */
  readonly unchecked: boolean;
  /** True if the source waits for the destination's last word, so that it goes on running after a refusal. */
  readonly returnPath: boolean;
}

/** Function that judges devices: it says no with a reason, or nothing. */
export type Judge = (devices: readonly Checked[]) => string | undefined;

/**
 * Collector of the device state, which looks for the commands that change how the proxy works. Pages are not even
 * counted.
 */
export class DeviceState extends StreamCollector {
  returnPath = false;
  postcopy = false;
  /** True if whole sections are kept for {@link takeFresh}. */
  early = true;
  /** Sections that came whole since they were asked for. */
  #fresh: StreamSection[] = [];

  /** Takes the whole sections that came since the last time. */
  takeFresh(): readonly StreamSection[] {
    const fresh = this.#fresh;
    this.#fresh = [];
    return fresh;
  }

  override body(bytes: Uint8Array, header: SectionHeader, offset: number): void {
    super.body(bytes, header, offset);
    if (this.early && header.kind === 'full') this.#fresh.push({ header, offset, body: bytes.slice() });
  }

  override ramPage(): void {}

  override command(command: number): void {
    this.returnPath ||= command === COMMAND.OPEN_RETURN_PATH;
    this.postcopy ||= command === COMMAND.POSTCOPY_ADVISE;
  }
}

/**
 * Stands between two QEMUs. RAM goes through as it comes; the device state behind it is held until it is whole and was
 * judged, and then handed on, or not: the destination has not begun to load devices at that moment.
 */
export async function proxy(source: Socket, destination: Socket, judge: Judge): Promise<Proxied> {
  const pump = new Pump(source, destination, judge);
  return pump.run();
}

class Pump {
  readonly #source: Socket;
  readonly #destination: Socket;
  readonly #judge: Judge;
  readonly #sink = new DeviceState();
  readonly #parser = new StreamParser(this.#sink, { accepts: acceptVirtio(registry) });
  readonly #held = new Held();
  #devices: readonly Checked[] = [];
  #broken: string | undefined;
  #refused: string | undefined;
  #judged = false;

  constructor(source: Socket, destination: Socket, judge: Judge) {
    this.#source = source;
    this.#destination = destination;
    this.#judge = judge;
  }

  async run(): Promise<Proxied> {
    const answered = this.#answers();
    try {
      for await (const chunk of chunksOf(this.#source)) {
        await this.#take(chunk);
        if (this.#refused !== undefined || this.#broken !== undefined) break;
      }
      // a stream without a vmdesc ends with its connection
      if (this.#refused === undefined && this.#broken === undefined && !this.#judged) await this.#decide();
    } catch (error) {
      this.#broken ??= `source: ${error instanceof Error ? error.message : String(error)}`;
    }
    await this.#close(answered);
    return {
      bytes: this.#parser.received,
      refused: this.#refused,
      broken: this.#broken,
      devices: this.#devices,
      unchecked: this.#sink.postcopy,
      returnPath: this.#sink.returnPath,
    };
  }

  async #take(chunk: Uint8Array): Promise<void> {
    const { postcopy } = this.#sink;
    if (this.#judged && !postcopy) {
      // what was taken for the end was none, and the destination waits for the rest
      this.#refused = 'the source goes on behind the end of its stream';
      return;
    }
    if (!postcopy) this.#read(() => this.#parser.push(chunk));
    if (!postcopy && !this.#parser.inDeviceState) this.#judgeEarly();
    if (this.#refused !== undefined) return;
    if (postcopy || !this.#parser.inDeviceState) {
      await this.#write(chunk);
      return;
    }
    // the source's buffer is used again for the next read
    this.#held.append(chunk);
    if (this.#parser.atEnd) await this.#decide();
  }

  /** Decides when the device state is whole: hand it on, or refuse. */
  async #decide(): Promise<void> {
    this.#judged = true;
    if (!this.#sink.postcopy) {
      this.#sink.early = false;
      this.#read(() => this.#parser.end());
      const stream = this.#sink.partial();
      this.#devices = checkDevices(stream);
      const [unclear] = findingsOf(stream);
      this.#refused ??=
        this.#judge(this.#devices) ??
        (unclear && `the stream is not clear: ${unclear.path}: ${unclear.reason}`);
    }
    if (this.#refused !== undefined) return;
    for (const chunk of this.#held.take()) await this.#write(chunk);
  }

  /** Judges devices (virtio-mem) that come in front of RAM, and that the destination loads as they come. */
  #judgeEarly(): void {
    const sections = this.#sink.takeFresh();
    if (sections.length > 0) this.#refused ??= this.#judge(checkDevices({ sections }));
  }

  #read(step: () => void): void {
    try {
      step();
    } catch (error) {
      if (!isStateError(error)) throw error;
      this.#refused = `the stream cannot be read: ${error.message}`;
    }
  }

  async #write(chunk: Uint8Array): Promise<void> {
    const destination = this.#destination;
    if (destination.destroyed || destination.errored) {
      this.#broken ??= 'the destination closed the connection';
      return;
    }
    await written(destination, chunk);
  }

  /** Hands what the destination says to the source. */
  #answers(): Promise<void> {
    const [source, destination] = [this.#source, this.#destination];
    source.on('error', () => {});
    return new Promise((resolve) => {
      handOn(destination, source);
      destination.once('error', (error: Error) => {
        this.#broken ??= `destination: ${error.message}`;
        source.destroy();
      });
      destination.once('end', () => source.end());
      destination.once('close', () => {
        // nothing more can be handed on; a source that has not finished must see that
        if (!this.#judged) {
          this.#broken ??= 'the destination closed the connection';
          source.destroy();
        }
        resolve();
      });
    });
  }

  async #close(answered: Promise<void>): Promise<void> {
    if (this.#refused !== undefined || this.#broken !== undefined) {
      this.#source.destroy();
      this.#destination.destroy();
      return;
    }
    this.#destination.end();
    await answered;
    this.#source.destroy();
  }
}

/** Makes the judge that refuses what cannot be read, and what QEMU would refuse or corrupt its memory over. */
export function judge(strict: boolean): Judge {
  return (devices: readonly Checked[]) => {
    for (const { device, error, findings } of devices) {
      if (error !== undefined) return error.message;
      const finding = findings.find(({ severity }) => severity === 'error' || strict);
      if (finding !== undefined)
        return `${titleOf(device)} / ${finding.layer} / ${finding.path}: ${finding.reason}`;
    }
    return undefined;
  };
}
