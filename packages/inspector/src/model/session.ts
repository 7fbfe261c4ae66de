// What the page asks its worker: one stream, opened and looked at.
import { iommuOf, machineEndian } from '@virtkit/migration';
import { type Examined, examineDevices, inspectionOf } from '@virtkit/migration/inspect';
import { isStateError, StateError } from '@virtkit/vmstate';
import { type CheckAnswer, checkOpened, type Question, targetNames } from './ask.ts';
import { followQueue } from './chains.ts';
import { otherDetail, requestsOf, virtioDetail } from './detail.ts';
import { GuestPages, type GuestView } from './guest-pages.ts';
import { overviewOf } from './overview.ts';
import { type Pasted, recognise } from './pasted.ts';
import { type Opened, readSource } from './read.ts';
import { registry } from './registry.ts';
import { blobSource, type Source, urlSource } from './source.ts';
import type { Overview, Progress, QueueChains, SectionDetail } from './types.ts';

/** Largest number of bytes of a section that are handed out at a time. */
const BYTES_MAX = 1 << 16;

/** Session with a stream in the hands of a worker. Plain data goes in and comes out. */
export class Session {
  #opened: Opened | undefined;
  #devices: readonly Examined[] = [];
  #reading: AbortController | undefined;
  /** Index of the guest's memory, from the first question about it on. */
  #pages: Promise<GuestPages> | undefined;

  /**
   * Opens a file of the person. @throws DOMException `AbortError` if another one was opened meanwhile, or {@link
   * cancel} called
   */
  openFile(file: Blob, name: string, onProgress?: (progress: Progress) => void): Promise<Overview> {
    return this.open(blobSource(file, name), onProgress);
  }

  /** Opens what a URL of the page's own host has. @throws as {@link openFile}, and what the network throws */
  openUrl(url: string, name: string, onProgress?: (progress: Progress) => void): Promise<Overview> {
    return this.open(urlSource(url, name), onProgress);
  }

  /** Opens a stream; the one before is closed. */
  async open(source: Source, onProgress?: (progress: Progress) => void): Promise<Overview> {
    this.cancel();
    const reading = new AbortController();
    this.#reading = reading;
    const opened = await readSource(source, {
      signal: reading.signal,
      ...(onProgress !== undefined && { onProgress }),
    });
    reading.signal.throwIfAborted();
    this.#opened = opened;
    this.#pages = undefined;
    this.#devices = examineDevices(opened.stream, registry);
    return overviewOf(opened, this.#devices);
  }

  /** Ends a reading that is under way. */
  cancel(): void {
    this.#reading?.abort();
    this.#reading = undefined;
  }

  /** Lists the fields of a section, by its number in the overview. */
  async detail(number: number): Promise<SectionDetail> {
    const { stream } = this.#open();
    const section = this.#section(number);
    const examined = this.#devices.find(({ device }) => device.section === section);
    return examined?.decoded === undefined
      ? otherDetail(section, number)
      : virtioDetail(examined, examined.decoded, number, stream);
  }

  /** Follows the chains of a device's queue into the guest's memory; the stream is read once more for the first one. */
  async chains(number: number, queue: number): Promise<QueueChains> {
    const opened = this.#open();
    const section = this.#section(number);
    const decoded = this.#devices.find(({ device }) => device.section === section)?.decoded;
    if (decoded === undefined)
      throw new StateError('closed', `section ${number} is no device that can be read`);
    const iommu = iommuOf(decoded.state, opened.stream.sections);
    if (iommu !== undefined) {
      const trouble = `the device's addresses are those of the machine's IOMMU (${iommu}), which is not followed`;
      return { waiting: [], more: 0, taken: [], trouble };
    }
    const heads = requestsOf(decoded.state).filter((each) => each.queue === queue);
    const little =
      machineEndian(opened.stream.configuration?.name ?? '', opened.stream.ram?.blocks) === 'little';
    return this.#inMemory(
      (view) =>
        followQueue(
          view,
          decoded.state,
          queue,
          heads.map(({ head }) => head),
          little,
        ),
      (trouble) => ({ waiting: [], more: 0, taken: [], trouble }),
    );
  }

  /** Takes bytes of the guest's memory, at most 64 KiB; or a sentence that says why they cannot be had. */
  memory(address: number, length: number): Promise<Uint8Array | string> {
    const count = Math.min(length, BYTES_MAX);
    return this.#inMemory<Uint8Array | string>(
      (view) => view.trouble(address, count) ?? view.bytes(address, count),
      (trouble) => trouble,
    );
  }

  async #inMemory<T>(look: (view: GuestView) => T, instead: (trouble: string) => T): Promise<T> {
    const signal = this.#reading?.signal;
    this.#pages ??= GuestPages.of(this.#open(), signal);
    try {
      return await (await this.#pages).see(look, signal);
    } catch (error) {
      if (!isStateError(error)) throw error;
      return instead(error.reason);
    }
  }

  /** Takes bytes of a section's body, from `start` in the stream on; at most 64 KiB. */
  bytes(number: number, start: number, length: number): Uint8Array {
    const { body, offset } = this.#section(number);
    const from = Math.max(start - offset, 0);
    return body.slice(from, from + Math.min(length, BYTES_MAX));
  }

  /** Writes the stream as `virtkit inspect --json` prints it; with fields, as with `--hex`. */
  json(fields = false): string {
    const json = inspectionOf(this.#open(), {
      registry,
      devices: this.#devices,
      otherFields: fields,
      deviceFields: fields,
    });
    return `${JSON.stringify(json, null, 2)}\n`;
  }

  /** Answers whether a target will load the stream. */
  check(question: Question): Promise<CheckAnswer> {
    return checkOpened(this.#open(), this.#devices, question);
  }

  /** Tells what a pasted text is; an error text is explained. @throws StateError `pasted` */
  pasted(text: string): Promise<Pasted> {
    return recognise(text);
  }

  /** Lists names of the targets that are known. */
  targets(): Promise<readonly string[]> {
    return targetNames();
  }

  #open(): Opened {
    if (this.#opened === undefined) throw new StateError('closed', 'no stream is open');
    return this.#opened;
  }

  #section(number: number): Opened['stream']['sections'][number] {
    const section = this.#open().stream.sections[number];
    if (section === undefined) throw new StateError('closed', `the stream has no section ${number}`);
    return section;
  }
}
