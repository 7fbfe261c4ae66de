/** Deepest nesting of JSON that is read. QEMU's is under twenty. */
const DEPTH_MAX = 100;

// a string is checked and unescaped by JSON.parse; here it only has to end
const STRING = /"[^"\\]*(?:\\.[^"\\]*)*"/sy;
const NUMBER = /-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/y;
const WORDS = ['true', 'false', 'null'] as const;

const CODE = { SPACE: 0x20, QUOTE: 0x22, COMMA: 0x2c, COLON: 0x3a } as const;
const OPEN = { LIST: 0x5b, OBJECT: 0x7b } as const;
const CLOSE = { LIST: 0x5d, OBJECT: 0x7d } as const;

/** Kind of a JSON value, before it is read. */
export type JsonKind = 'object' | 'list' | 'string' | 'other';

/**
 * Reads a JSON text from its beginning to its end, and keeps nothing of it: whoever reads takes each value as it comes. All
 * members of an object come, also those whose keys repeat, as they do in QEMU's vmdesc; `JSON.parse` drops all but the last.
 */
export class JsonReader {
  readonly #text: string;
  readonly #objectsMax: number;
  #at = 0;
  #depth = 0;
  #objects = 0;

  /** @param objectsMax most objects that are read: each may become one in memory, which is larger than `{}` */
  constructor(text: string, objectsMax: number) {
    this.#text = text;
    this.#objectsMax = objectsMax;
  }

  /** Kind of the value that comes next. */
  get kind(): JsonKind {
    const first = this.#next();
    if (first === OPEN.OBJECT) return 'object';
    if (first === OPEN.LIST) return 'list';
    return first === CODE.QUOTE ? 'string' : 'other';
  }

  /** Reads an object: `member` must take the value that belongs to the key. @throws SyntaxError */
  object(member: (key: string) => void): void {
    this.count();
    this.#enter();
    if (!this.#ends(CLOSE.OBJECT)) {
      do {
        if (this.#next() !== CODE.QUOTE) throw new SyntaxError(`unexpected character at ${this.#at}`);
        const key = this.string();
        if (!this.#ends(CODE.COLON)) throw new SyntaxError(`":" expected at ${this.#at}`);
        member(key);
      } while (this.#goesOn(CLOSE.OBJECT));
    }
    this.#depth--;
  }

  /** Reads a list: `item` must take the next value. @throws SyntaxError */
  list(item: () => void): void {
    this.#enter();
    if (!this.#ends(CLOSE.LIST)) {
      do item();
      while (this.#goesOn(CLOSE.LIST));
    }
    this.#depth--;
  }

  /** Reads a string. @throws SyntaxError if something else comes next */
  string(): string {
    const end = this.#text.indexOf('"', this.#at + 1);
    const plain = this.#text.slice(this.#at + 1, end < 0 ? undefined : end);
    // nearly all: nothing escaped, and nothing that should be
    if (end < 0 || UNPLAIN.test(plain)) return JSON.parse(this.#match(STRING)) as string;
    this.#at = end + 1;
    return plain;
  }

  /** Reads a number; undefined where `true`, `false` or `null` stands. @throws SyntaxError */
  number(): number | undefined {
    this.#next();
    for (const word of WORDS) {
      if (!this.#text.startsWith(word, this.#at)) continue;
      this.#at += word.length;
      return undefined;
    }
    return Number(this.#match(NUMBER));
  }

  /** Passes over the next value, whatever it is. @throws SyntaxError */
  skip(): void {
    const { kind } = this;
    if (kind === 'object') this.object(() => this.skip());
    else if (kind === 'list') this.list(() => this.skip());
    else if (kind === 'string') this.string();
    else this.number();
  }

  /** Counts an object that will be kept. @throws RangeError if they are too many */
  count(): void {
    if (++this.#objects > this.#objectsMax) throw new RangeError(`more than ${this.#objectsMax} objects`);
  }

  /** Demands the end of the text. @throws SyntaxError if something follows */
  end(): void {
    this.#next();
    if (this.#at < this.#text.length) throw new SyntaxError('something behind the value');
  }

  #enter(): void {
    if (++this.#depth > DEPTH_MAX) throw new SyntaxError(`nested deeper than ${DEPTH_MAX}`);
    this.#at++;
  }

  /** Passes over the comma behind an item, or the bracket at the end. Answers whether another item follows. */
  #goesOn(close: number): boolean {
    if (this.#ends(CODE.COMMA)) return true;
    if (this.#ends(close)) return false;
    throw new SyntaxError(`"," expected at ${this.#at}`);
  }

  /** Takes a character if it is the next. Answers whether it was. */
  #ends(code: number): boolean {
    const there = this.#next() === code;
    if (there) this.#at++;
    return there;
  }

  /** Finds the next character that is not white space; NaN at the end. */
  #next(): number {
    let code = this.#text.charCodeAt(this.#at);
    while (code <= CODE.SPACE && isSpace(code)) code = this.#text.charCodeAt(++this.#at);
    return code;
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found === undefined) throw new SyntaxError(`unexpected character at ${this.#at}`);
    this.#at += found.length;
    return found;
  }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids them in strings
const UNPLAIN = /[\\\u0000-\u001f]/;

function isSpace(code: number): boolean {
  return code === CODE.SPACE || code === 0x0a || code === 0x0d || code === 0x09;
}
