/** A JSON value whose objects keep every member: QEMU's vmdesc repeats keys, and `JSON.parse` drops all but the last. */
export type JsonText = null | boolean | number | string | readonly JsonText[] | JsonMembers;

/** The members of an object, in order. */
export interface JsonMembers {
  readonly members: readonly (readonly [key: string, value: JsonText])[];
}

/** Deepest nesting read. QEMU's is under twenty. */
const DEPTH_MAX = 100;

/** @throws SyntaxError */
export function readJsonText(text: string): JsonText {
  const input = new JsonInput(text);
  const value = input.value(0);
  input.end();
  return value;
}

// a string is checked and unescaped by JSON.parse; here it only has to end
const STRING = /"[^"\\]*(?:\\.[^"\\]*)*"/sy;
const NUMBER = /-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/y;
const WORDS = new Map([
  ['true', true],
  ['false', false],
  ['null', null],
] as const);

const CODE = { SPACE: 0x20, QUOTE: 0x22, COMMA: 0x2c, COLON: 0x3a } as const;
const OPEN = { LIST: 0x5b, OBJECT: 0x7b } as const;
const CLOSE = { LIST: 0x5d, OBJECT: 0x7d } as const;

class JsonInput {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(depth: number): JsonText {
    if (depth > DEPTH_MAX) throw new SyntaxError(`nested deeper than ${DEPTH_MAX}`);
    const first = this.#next();
    if (first === OPEN.OBJECT) return { members: this.#members(depth + 1) };
    if (first === OPEN.LIST) return this.#items(depth + 1);
    if (first === CODE.QUOTE) return this.#string();
    for (const [word, value] of WORDS) {
      if (!this.#text.startsWith(word, this.#at)) continue;
      this.#at += word.length;
      return value;
    }
    return Number(this.#match(NUMBER));
  }

  end(): void {
    this.#next();
    if (this.#at < this.#text.length) throw new SyntaxError('something behind the value');
  }

  #members(depth: number): (readonly [string, JsonText])[] {
    const members: (readonly [string, JsonText])[] = [];
    this.#at++;
    if (this.#ends(CLOSE.OBJECT)) return members;
    do {
      if (this.#next() !== CODE.QUOTE) throw new SyntaxError(`unexpected character at ${this.#at}`);
      const key = this.#string();
      if (!this.#ends(CODE.COLON)) throw new SyntaxError(`":" expected at ${this.#at}`);
      members.push([key, this.value(depth)]);
    } while (this.#goesOn(CLOSE.OBJECT));
    return members;
  }

  #items(depth: number): JsonText[] {
    const items: JsonText[] = [];
    this.#at++;
    if (this.#ends(CLOSE.LIST)) return items;
    do items.push(this.value(depth));
    while (this.#goesOn(CLOSE.LIST));
    return items;
  }

  /** Behind an item: a comma, or the end. */
  #goesOn(close: number): boolean {
    if (this.#ends(CODE.COMMA)) return true;
    if (this.#ends(close)) return false;
    throw new SyntaxError(`"," expected at ${this.#at}`);
  }

  /** Takes this character if it is the next. */
  #ends(code: number): boolean {
    const there = this.#next() === code;
    if (there) this.#at++;
    return there;
  }

  /** The next character that is not white space; NaN at the end. */
  #next(): number {
    let code = this.#text.charCodeAt(this.#at);
    while (code <= CODE.SPACE && isSpace(code)) code = this.#text.charCodeAt(++this.#at);
    return code;
  }

  #string(): string {
    const end = this.#text.indexOf('"', this.#at + 1);
    const plain = this.#text.slice(this.#at + 1, end < 0 ? undefined : end);
    // nearly all: nothing escaped, and nothing that should be
    if (end < 0 || UNPLAIN.test(plain)) return JSON.parse(this.#match(STRING)) as string;
    this.#at = end + 1;
    return plain;
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
