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

const SPACE = /[ \t\r\n]*/y;
// a string is checked and unescaped by JSON.parse; here it only has to end
const STRING = /"[^"\\]*(?:\\.[^"\\]*)*"/sy;
const NUMBER = /-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/y;
const WORDS = new Map([
  ['true', true],
  ['false', false],
  ['null', null],
] as const);

class JsonInput {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(depth: number): JsonText {
    if (depth > DEPTH_MAX) throw new SyntaxError(`nested deeper than ${DEPTH_MAX}`);
    this.#match(SPACE);
    const first = this.#text[this.#at];
    if (first === '{') return { members: this.#list('}', () => this.#member(depth + 1)) };
    if (first === '[') return this.#list(']', () => this.value(depth + 1));
    if (first === '"') return this.#string();
    for (const [word, value] of WORDS) {
      if (!this.#text.startsWith(word, this.#at)) continue;
      this.#at += word.length;
      return value;
    }
    return Number(this.#match(NUMBER));
  }

  end(): void {
    this.#match(SPACE);
    if (this.#at < this.#text.length) throw new SyntaxError('something behind the value');
  }

  #member(depth: number): readonly [string, JsonText] {
    const key = this.#string();
    this.#expect(':');
    return [key, this.value(depth)];
  }

  #list<T>(close: string, item: () => T): T[] {
    this.#at++;
    const items: T[] = [];
    this.#match(SPACE);
    if (this.#text[this.#at] === close) {
      this.#at++;
      return items;
    }
    for (;;) {
      this.#match(SPACE);
      items.push(item());
      this.#match(SPACE);
      if (this.#text[this.#at] === close) {
        this.#at++;
        return items;
      }
      this.#expect(',');
    }
  }

  #string(): string {
    return JSON.parse(this.#match(STRING)) as string;
  }

  #expect(character: string): void {
    this.#match(SPACE);
    if (this.#text[this.#at] !== character) throw new SyntaxError(`"${character}" expected at ${this.#at}`);
    this.#at++;
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found === undefined) throw new SyntaxError(`unexpected character at ${this.#at}`);
    this.#at += found.length;
    return found;
  }
}
