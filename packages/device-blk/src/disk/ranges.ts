import { Gate } from './gate.ts';

/** Status codes of HTTP; SERVER_ERROR: the first of those that blame the server. RFC 9110 §15 */
const HTTP = {
  OK: 200,
  PARTIAL_CONTENT: 206,
  REQUEST_TIMEOUT: 408,
  RANGE_NOT_SATISFIABLE: 416,
  TOO_EARLY: 425,
  TOO_MANY_REQUESTS: 429,
  SERVER_ERROR: 500,
} as const;

/** Part of `fetch` that is needed. */
export type Fetch = (
  url: string,
  init: {
    readonly method: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly signal: AbortSignalLike;
    readonly cache: 'no-store';
  },
) => Promise<ResponseLike>;

interface AbortSignalLike {
  readonly aborted: boolean;
}

interface AbortControllerLike {
  readonly signal: AbortSignalLike;
  abort(reason?: unknown): void;
}

interface ResponseLike {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  readonly body: {
    getReader(): {
      read(): Promise<{ done: boolean; value?: Uint8Array | undefined }>;
      cancel(reason?: unknown): Promise<void>;
    };
  } | null;
}

// Globals of browsers, workers and Node, as far as they are used here: this file is compiled with the types of none of them.
declare const fetch: Fetch | undefined;
declare const AbortController: new () => AbortControllerLike;
declare function setTimeout(callback: () => void, ms: number): unknown;
declare function clearTimeout(timer: unknown): void;

export interface RangeOptions {
  readonly timeoutMs?: number;
  readonly retries?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly fetch?: Fetch;
}

/**
 * Number of requests to the server at a time, as browsers make of one page; others wait. Each has at most one run of
 * blocks in memory.
 */
const REQUESTS_UNDER_WAY = 6;
const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 5000;

/** Error of an answer that no second try will better. */
class Final extends Error {}

/** Reader of ranges of one file on a web server, which must stay the same file. */
export class Ranges {
  /** Length of the file in bytes. */
  size = 0;
  requests = 0;
  bytes = 0;
  readonly #url: string;
  readonly #fetch: Fetch;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #timeoutMs: number;
  readonly #retries: number;
  readonly #underway = new Set<AbortControllerLike>();
  readonly #pauses = new Set<() => void>();
  readonly #gate = new Gate(REQUESTS_UNDER_WAY);
  /** Mark of the file as it was when it was opened: the strong ETag, else the date. */
  #validator: { readonly header: 'etag' | 'last-modified'; readonly value: string } | undefined;
  /** Error that says why nothing can be read any more. */
  #failed: Error | undefined;

  constructor(url: string, { timeoutMs = 30_000, retries = 4, headers = {}, fetch: given }: RangeOptions) {
    const used = given ?? (typeof fetch === 'undefined' ? undefined : fetch.bind(globalThis));
    if (used === undefined) throw new Error('no fetch here: give one');
    this.#url = url;
    this.#fetch = used;
    this.#headers = headers;
    this.#timeoutMs = timeoutMs;
    this.#retries = retries;
  }

  /** Asks for the first bytes, and learns what the file is. */
  open(length: number): Promise<Uint8Array> {
    return this.#again(async () => {
      const { response, controller, end } = await this.#ask('GET', { range: `bytes=0-${length - 1}` });
      try {
        this.#checkEncoding(response);
        const total = /^bytes 0-(\d+)\/(\d+)$/.exec(response.headers.get('content-range') ?? '');
        if (response.status === HTTP.RANGE_NOT_SATISFIABLE) throw new Final(`${this.#url}: is empty`);
        if (response.status !== HTTP.PARTIAL_CONTENT) throw this.#refused(response.status);
        // a server of another origin may not show it
        const bytes = total === null ? await this.#body(response, 0, length) : undefined;
        const size = total === null ? await this.#sizeByHead() : Number(total[2]);
        if (!Number.isSafeInteger(size) || size === 0)
          throw new Final(`${this.#url}: a size of ${size} bytes is none`);
        const wanted = Math.min(length, size);
        if (bytes !== undefined && bytes.length !== wanted)
          throw new Error(`${this.#url}: ${bytes.length} bytes came, ${wanted} of ${size} were asked for`);
        const first = bytes ?? (await this.#body(response, wanted, wanted));
        this.size = size;
        this.#remember(response);
        return first;
      } catch (error) {
        controller.abort();
        throw error;
      } finally {
        end();
      }
    });
  }

  /** Reads bytes `[start, end)` of the file. */
  get(start: number, end: number): Promise<Uint8Array> {
    return this.#again(async () => {
      this.assertUsable();
      const validator = this.#validator;
      const asked = await this.#ask('GET', {
        range: `bytes=${start}-${end - 1}`,
        // a weak one may not be sent (RFC 9110 §13.1.5), only compared
        ...(validator && !validator.value.startsWith('W/') && { 'if-range': validator.value }),
      });
      try {
        this.#check(asked.response, start, end);
        return await this.#body(asked.response, end - start, end - start);
      } catch (error) {
        asked.controller.abort();
        throw error;
      } finally {
        asked.end();
      }
    });
  }

  close(): void {
    this.#failed ??= new Final(`${this.#url}: closed`);
    for (const controller of this.#underway) controller.abort(this.#failed);
    for (const wake of this.#pauses) wake();
  }

  /** Goes on only if the file can still be read. @throws Error if nothing can be read any more */
  assertUsable(): void {
    if (this.#failed !== undefined) throw this.#failed;
  }

  async #sizeByHead(): Promise<number> {
    const { response, end } = await this.#ask('HEAD', {});
    end();
    const length = response.headers.get('content-length');
    // of what is compressed on the way, the length would be another one
    this.#checkEncoding(response);
    if (response.status !== HTTP.OK && isPassing(response.status)) throw this.#refused(response.status);
    if (response.status !== HTTP.OK || length === null || !/^\d+$/.test(length))
      throw new Final(
        `${this.#url}: the server does not say how long it is (Content-Range, or Content-Length of HEAD)`,
      );
    return Number(length);
  }

  /** Refuses a file that is sent encoded: ranges and lengths are those of the image only if it is sent as it is. */
  #checkEncoding({ headers }: ResponseLike): void {
    const encoding = headers.get('content-encoding');
    if (encoding === null || encoding === '' || encoding.toLowerCase() === 'identity') return;
    throw new Error(`${this.#url}: comes as ${encoding}, and was asked for as it is`);
  }

  #remember({ headers }: ResponseLike): void {
    const etag = headers.get('etag');
    const date = headers.get('last-modified');
    if (etag !== null && !etag.startsWith('W/')) this.#validator = { header: 'etag', value: etag };
    else if (date !== null) this.#validator = { header: 'last-modified', value: date };
    else if (etag !== null) this.#validator = { header: 'etag', value: etag };
  }

  /** Is this the range that was asked for, of the file that was opened? */
  #check(response: ResponseLike, start: number, end: number): void {
    const { status, headers } = response;
    if (status === HTTP.PARTIAL_CONTENT || status === HTTP.OK) this.#compareValidator(headers);
    // its last part is the size that the file has now (RFC 9110 §14.4)
    if (status === HTTP.PARTIAL_CONTENT || status === HTTP.RANGE_NOT_SATISFIABLE)
      this.#compareSize(headers.get('content-range') ?? '');
    // the whole of the same file, or of who knows what: its bytes are not used, and another time there may be ranges again
    if (status === HTTP.OK)
      throw new Error(`${this.#url}: the server gave the whole file and not a range (status 200)`);
    if (status !== HTTP.PARTIAL_CONTENT) throw this.#refused(status);
    this.#checkEncoding(response);
    if (/^multipart\//i.test(headers.get('content-type') ?? ''))
      throw new Error(`${this.#url}: the server gave several ranges, one was asked for`);
    const range = headers.get('content-range');
    if (range === null) return;
    const expected = `bytes ${start}-${end - 1}/${this.size}`;
    if (!range.startsWith(`bytes ${start}-${end - 1}/`))
      throw new Error(`${this.#url}: the server gave ${range}, not ${expected}`);
  }

  /**
   * Compares the answer's mark with that of the file that was opened. With If-Range, the whole file comes if it is
   * another now, and says which.
   */
  #compareValidator(headers: ResponseLike['headers']): void {
    const validator = this.#validator;
    const now = validator && headers.get(validator.header);
    if (now !== undefined && now !== null && now !== validator?.value)
      throw this.#changed(`${validator?.header} ${now}, it was ${validator?.value}`);
  }

  #compareSize(range: string): void {
    const size = /\/(\d+)$/.exec(range)?.[1];
    if (size !== undefined && Number(size) !== this.size)
      throw this.#changed(`${range}, of ${this.size} bytes when it was opened`);
  }

  /**
   * Makes the error for a file that has changed. Blocks of two files must not get mixed: from now on nothing is read.
   */
  #changed(how: string): Error {
    this.#failed ??= new Final(`${this.#url}: is another file than when it was opened (${how})`);
    return this.#failed;
  }

  #refused(status: number): Error {
    if (status === HTTP.OK)
      return new Final(`${this.#url}: the server does not give ranges, only the whole file`);
    const error = `${this.#url}: status ${status}`;
    return isPassing(status) ? new Error(error) : new Final(error);
  }

  async #ask(
    method: string,
    headers: Readonly<Record<string, string>>,
  ): Promise<{ response: ResponseLike; controller: AbortControllerLike; end: () => void }> {
    await this.#gate.enter();
    const controller = new AbortController();
    this.#underway.add(controller);
    const timer = setTimeout(
      () => controller.abort(new Error(`${this.#url}: no answer within ${this.#timeoutMs} ms`)),
      this.#timeoutMs,
    );
    const end = (): void => {
      if (!this.#underway.delete(controller)) return;
      clearTimeout(timer);
      this.#gate.leave();
    };
    try {
      // it may have been closed while this one waited
      this.assertUsable();
      this.requests++;
      const response = await this.#fetch(this.#url, {
        method,
        // browsers say so by themselves where there is a Range, and let nobody else say it
        headers: { 'accept-encoding': 'identity', ...this.#headers, ...headers },
        signal: controller.signal,
        cache: 'no-store',
      });
      return { response, controller, end };
    } catch (error) {
      end();
      throw error;
    }
  }

  /** Reads the body, which must have from `least` to `most` bytes; no more than these are kept. */
  async #body({ body }: ResponseLike, least: number, most: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(most);
    const reader = body?.getReader();
    let done = 0;
    for (;;) {
      const { value, done: ended } = (await reader?.read()) ?? { done: true };
      if (ended || value === undefined) break;
      if (done + value.length > most) {
        await reader?.cancel().catch(() => {});
        throw new Error(`${this.#url}: more than the ${most} bytes that were asked for`);
      }
      bytes.set(value, done);
      done += value.length;
      this.bytes += value.length;
    }
    if (done < least) throw new Error(`${this.#url}: ${done} bytes came, ${least} were asked for`);
    return bytes.subarray(0, done);
  }

  async #again<T>(attempt: () => Promise<T>): Promise<T> {
    for (let tries = 0; ; tries++) {
      try {
        return await attempt();
      } catch (error) {
        this.assertUsable();
        if (error instanceof Final || tries >= this.#retries) throw error;
      }
      const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** tries);
      await this.#pause(pause);
      this.assertUsable();
    }
  }

  /** Waits for some milliseconds; closing the disk ends the wait. */
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.#pauses.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      this.#pauses.add(wake);
    });
  }
}

/** Can an answer with this status get better by another try? */
function isPassing(status: number): boolean {
  return (
    status === HTTP.REQUEST_TIMEOUT ||
    status === HTTP.RANGE_NOT_SATISFIABLE ||
    status === HTTP.TOO_EARLY ||
    status === HTTP.TOO_MANY_REQUESTS ||
    status >= HTTP.SERVER_ERROR
  );
}
