// Servers of NBD that say anything: while an export is agreed on, and instead of the bytes that were asked for.
import { Duplex } from 'node:stream';
import { NbdConnection } from '../../../device-blk/src/node/nbd/connection.ts';
import type { NbdExport } from '../../../device-blk/src/node/nbd/handshake.ts';
import { COMMAND } from '../../../device-blk/src/node/nbd/protocol.ts';
import { type CommandFacts, NbdRequest } from '../../../device-blk/src/node/nbd/request.ts';
import { nbdAddress } from '../../../device-blk/src/node/nbd/uri.ts';
import { demand, type FuzzTarget } from '../target.ts';

const ADDRESS = nbdAddress('nbd://localhost/');
const FORMS = ['simple', 'structured', 'extended'] as const;
type Form = (typeof FORMS)[number];

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'));
const number = (value: number, bytes: number): string => value.toString(16).padStart(2 * bytes, '0');

function reply(option: number, type: number, data = ''): string {
  return `0003e889045565a9 ${number(option, 4)} ${number(type, 4)} ${number(data.length / 2, 4)} ${data}`;
}

/** A server that agrees: a disk of a mebibyte that can do everything, blocks of 512 bytes. */
function agreement(form: Form): Uint8Array {
  const yes = (option: number, isYes: boolean): string => reply(option, isYes ? 1 : 0x80000001);
  return hex(
    [
      '4e42444d41474943 49484156454f5054 0003',
      yes(11, form === 'extended'),
      ...(form === 'extended' ? [] : [yes(8, form === 'structured')]),
      reply(7, 3, `0000${number(1 << 20, 8)}${number(0x56d, 2)}`),
      reply(7, 3, `0003${number(512, 4)}${number(4096, 4)}${number(1 << 20, 4)}`),
      reply(7, 1),
    ].join(''),
  );
}

/** Commands that are asked for: the first has cookie 1, and so on. */
const COMMANDS: readonly Omit<CommandFacts, 'target' | 'from'>[] = [
  { command: COMMAND.READ, flags: 0, position: 512, length: 24 },
  { command: COMMAND.WRITE, flags: 1, position: 0, length: 4, data: new Uint8Array(4) },
  { command: COMMAND.READ, flags: 0, position: 1 << 19, length: 600 },
  { command: COMMAND.FLUSH, flags: 0, position: 0, length: 0 },
  { command: COMMAND.WRITE_ZEROES, flags: 2, position: 0, length: 1 << 19 },
  { command: COMMAND.READ, flags: 0, position: 0, length: 1 },
];

/** The place of a read: each byte comes once, none of them after the end of the request, and none outside. */
class Place {
  static readonly #FROM = 3;
  readonly from = Place.#FROM;
  readonly #times: Uint8Array;
  readonly #bytes: Uint8Array;
  isEnded = false;

  constructor(length: number) {
    this.#times = new Uint8Array(length);
    this.#bytes = new Uint8Array(length);
  }

  #note(from: number, length: number): number {
    demand(!this.isEnded, 'bytes of a read that has ended');
    const at = from - this.from;
    demand(at >= 0 && at + length <= this.#times.length, `${length} bytes at ${at} of ${this.#times.length}`);
    for (let n = at; n < at + length; n++) {
      demand(this.#times[n] === 0, `byte ${n} of a read comes twice`);
      this.#times[n] = 1;
    }
    return at;
  }

  copyFrom(from: number, source: Uint8Array, at = 0, length = source.length - at): number {
    this.#bytes.set(source.subarray(at, at + length), this.#note(from, length));
    return length;
  }

  fill(from: number, length: number, value: number): number {
    const at = this.#note(from, length);
    this.#bytes.fill(value, at, at + length);
    return length;
  }

  get isWhole(): boolean {
    return this.#times.every((times) => times === 1);
  }

  get text(): string {
    return Buffer.from(this.#bytes).toString('hex');
  }
}

/** Says what it is given, in pieces, and hears everything. */
class Server extends Duplex {
  #held: Uint8Array;
  readonly #piece: number;
  #mayEnd = false;

  constructor(first: Uint8Array, piece: number) {
    super({ allowHalfOpen: false });
    this.#held = first;
    this.#piece = piece;
  }

  /** The last bytes that it says. */
  say(bytes: Uint8Array): void {
    this.#held = bytes;
    this.#mayEnd = true;
    this._read();
  }

  override _read(): void {
    while (this.#held.length > 0) {
      const chunk = Buffer.from(this.#held.subarray(0, this.#piece));
      this.#held = this.#held.subarray(chunk.length);
      if (!this.push(chunk)) return;
    }
    if (this.#mayEnd) this.push(null);
  }

  override _write(_chunk: Uint8Array, _encoding: string, done: () => void): void {
    done();
  }
}

const CODES = /^(EPROTO|ENOENT|ECONNREFUSED|ECONNRESET)$/;

function coded(error: unknown): string {
  const { code } = error as { readonly code?: unknown };
  if (typeof code === 'string' && CODES.test(code)) return code;
  throw error;
}

function saneExport({ size, blockMin, payloadMax }: NbdExport): void {
  demand(Number.isSafeInteger(size) && size >= 0, `an export of ${size} bytes`);
  demand(
    blockMin >= 1 && blockMin <= 65536 && Number.isInteger(Math.log2(blockMin)),
    `blocks of ${blockMin}`,
  );
  demand(payloadMax >= blockMin && payloadMax % blockMin === 0, `${payloadMax} bytes, blocks of ${blockMin}`);
}

/** Agrees on an export with a server that says this and closes. */
async function agree(bytes: Uint8Array, piece: number): Promise<string> {
  const server = new Server(new Uint8Array(0), piece);
  server.on('error', () => {});
  server.say(bytes);
  try {
    const { agreed } = await NbdConnection.over(server, ADDRESS, () => {});
    saneExport(agreed);
    return JSON.stringify(agreed);
  } catch (error) {
    return coded(error);
  } finally {
    server.destroy();
  }
}

/** Asks for everything, and tells what came of it. */
async function ask(form: Form, answers: Uint8Array, piece: number): Promise<string> {
  const server = new Server(agreement(form), piece);
  let lost = 0;
  let end: (why: unknown) => void = () => {};
  const ended = new Promise<unknown>((resolve) => {
    end = resolve;
  });
  const connection = await NbdConnection.over(server, ADDRESS, (_connection, error) => {
    lost++;
    end(error);
  });
  const places = COMMANDS.map(({ length }) => new Place(length));
  const outcomes = COMMANDS.map(() => 'open');
  for (const [n, facts] of COMMANDS.entries()) {
    const place = places[n] as Place;
    const isRead = facts.command === COMMAND.READ;
    const request = new NbdRequest({ ...facts, ...(isRead && { target: place, from: place.from }) }, 0);
    const settle = (outcome: string): void => {
      outcomes[n] = outcome;
      place.isEnded = true;
    };
    request.done.then(
      () => settle(place.isWhole || !isRead ? `done ${isRead ? place.text : ''}` : 'done in part'),
      (error: { readonly code?: unknown }) => settle(String(error.code)),
    );
    connection.send(request);
  }
  server.say(answers);
  const why = coded(await ended);
  // what was settled before the end is told by then
  await Promise.resolve();
  demand(lost === 1, `lost ${lost} times`);
  demand(!outcomes.includes('done in part'), 'a read is done, and not all of it has come');
  const open = outcomes.filter((outcome) => outcome === 'open').length;
  demand(
    open === connection.underWay,
    `${open} requests have no answer, and ${connection.underWay} are under way`,
  );
  return [why, ...outcomes].join();
}

export const nbd: FuzzTarget = {
  name: 'nbd',
  about:
    'servers of NBD: a read is done when each of its bytes has come once, and pieces of any size are the same',
  lengthMax: 4096,
  run: async (input) => {
    const [choice = 0] = input;
    const form = FORMS[choice & 3];
    const bytes = input.subarray(1);
    const play = (piece: number): Promise<string> =>
      form === undefined ? agree(bytes, piece) : ask(form, bytes, piece);
    const whole = await play(input.length + 1);
    const pieces = await play(1 + (choice >> 2));
    demand(whole === pieces, `in pieces ${pieces}, whole ${whole}`);
  },
  seeds: function* seeds() {
    for (const [n, form] of FORMS.entries()) {
      yield Uint8Array.of(3, ...agreement(form));
      yield Uint8Array.of(n, ...hex(ANSWERS[form]));
    }
  },
};

const simple = (cookie: number, error = 0, data = ''): string =>
  `67446698 ${number(error, 4)} ${number(cookie, 8)} ${data}`;
const structured = (cookie: number, flags: number, type: number, data = ''): string =>
  `668e33ef ${number(flags, 2)} ${number(type, 2)} ${number(cookie, 8)} ${number(data.length / 2, 4)} ${data}`;
const extended = (cookie: number, flags: number, type: number, data = ''): string =>
  `6e8a278c ${number(flags, 2)} ${number(type, 2)} ${number(cookie, 8)} ${number(0, 8)} ${number(data.length / 2, 8)} ${data}`;

/** All that is asked for, answered as servers do. */
const ANSWERS: Readonly<Record<Form, string>> = {
  simple: [
    simple(2),
    simple(1, 0, '5a'.repeat(24)),
    simple(4, 5),
    simple(3, 0, '01'.repeat(600)),
    simple(6, 0, 'ff'),
    simple(5, 95),
  ].join(''),
  structured: chunks(structured),
  extended: chunks(extended),
};

function chunks(chunk: typeof structured): string {
  const [first, third] = [number(512, 8), number(1 << 19, 8)];
  return [
    chunk(1, 0, 1, `${number(520, 8)}${'22'.repeat(16)}`),
    chunk(3, 0, 2, `${third}${number(500, 4)}`),
    chunk(2, 1, 0),
    chunk(1, 1, 1, `${first}${'11'.repeat(8)}`),
    chunk(3, 1, 0x8002, `${number(5, 4)}${number(3, 2)}616263${number((1 << 19) + 500, 8)}`),
    chunk(4, 1, 0x8001, `${number(28, 4)}${number(0, 2)}`),
    chunk(5, 1, 0),
    chunk(6, 1, 2, `${number(0, 8)}${number(1, 4)}`),
  ].join('');
}
