import { StateError } from '@virtkit/vmstate';
import { takesValue } from './qemu-options.ts';

/** Command as the shell would have run it. */
export interface Command {
  readonly words: readonly string[];
  /** Parts of the text that only a shell could have replaced: `$(nproc)`, a variable that nothing sets. */
  readonly unknown: readonly string[];
}

/** Names under which distributions install QEMU; the second is looked for where the first is nowhere. */
const PROGRAMS = [/(?:^|[/=])qemu-system-[\w-]+$/, /(?:^|[/=])(?:qemu-kvm|kvm|qemu)$/];

/** Finds the index of the program in a command, behind `sudo`, `nice -n 5`, `LC_ALL=C`; -1: there is none. */
export function programIndex(words: readonly string[]): number {
  for (const program of PROGRAMS) {
    const at = words.findIndex((word) => program.test(word));
    if (at >= 0) return at;
  }
  return -1;
}

/**
 * Lists the commands that start a QEMU in a text: a command line, a script, a log of libvirt with many starts, a unit
 * of systemd, the output of `ps`, `/proc/PID/cmdline`, a JSON array of words. Text without QEMU's name is one command
 * that begins with its options.
 *
 * @throws StateError `target` for text without options
 */
export function qemuCommands(text: string): readonly Command[] {
  const whole = jsonArray(text) ?? nulSeparated(text);
  if (whole !== undefined) return [{ words: whole, unknown: [] }];
  const lines = new Lines(text).all();
  const found = lines.filter(({ words }) => startsQemu(words));
  if (found.length > 0) return found;
  const all: Command = {
    words: lines.flatMap(({ words }) => words),
    unknown: lines.flatMap(({ unknown }) => unknown),
  };
  if (all.words.some((word) => word.startsWith('-'))) return [all];
  throw new StateError('target', 'no options of QEMU in this command line', { text: text.slice(0, 200) });
}

function startsQemu(words: readonly string[]): boolean {
  const program = programIndex(words);
  return program >= 0 && words.slice(program).some((word) => word.startsWith('-'));
}

function jsonArray(text: string): string[] | undefined {
  if (!text.trimStart().startsWith('[')) return undefined;
  try {
    const words: unknown = JSON.parse(text);
    if (Array.isArray(words) && words.every((word): word is string => typeof word === 'string')) return words;
  } catch {
    // a log may begin its lines with a date in brackets
  }
  return undefined;
}

/** Reads the words of `/proc/PID/cmdline`, which end with a zero byte each; undefined for a text without one. */
function nulSeparated(text: string): string[] | undefined {
  if (!text.includes('\0')) return undefined;
  return text.replace(/\0\n?$/, '').split('\0');
}

/**
 * Largest number of characters that a text's variables are made of: a script of a few lines could double one until
 * memory is full.
 */
const EXPANDED_MAX = 1 << 22;
/** Longest name of a variable. */
const NAME_MAX = 200;

const SPACE = /[ \t]/;
const NAME = /[A-Za-z_]\w*/y;
const ASSIGNMENT = /^([A-Za-z_]\w*)(\+?)=([\s\S]*)$/;

/** Text taken apart into lines as a shell does it: quotes, backslashes, comments, variables, arrays. */
class Lines {
  readonly #text: string;
  readonly #variables = new Map<string, readonly string[]>();
  readonly #done: Command[] = [];
  #at = 0;
  #words: string[] = [];
  #unknown: string[] = [];
  /** Word that is being read; undefined: between words. */
  #word: string | undefined;
  /** True if a part of the word was quoted. */
  #quoted = false;
  /** True if the next word is a file of a redirection, and none of the command's. */
  #skipNext = false;
  /** Number of characters that variables have been set to and replaced by so far; at most {@link EXPANDED_MAX}. */
  #expanded = 0;
  /** Offset from which on no JSON object is closed any more, so that it is not looked for again. */
  #noJson = false;
  /** Array that the word is inside of, `NAME=(…)`. */
  #array: { readonly name: string; readonly words: readonly string[] } | undefined;

  constructor(text: string) {
    this.#text = text.replaceAll('\r\n', '\n');
  }

  all(): readonly Command[] {
    while (this.#at < this.#text.length) this.#step();
    this.#endLine();
    return this.#done;
  }

  #step(): void {
    const char = this.#text[this.#at] ?? '';
    if (this.#word === undefined && this.#rawJson(char)) return;
    if (SPACE.test(char)) this.#endWord();
    else if (char === '\n') this.#newLine();
    else if (char === '#' && this.#word === undefined) this.#skipComment();
    else if (char === "'") this.#single();
    else if (char === '"') this.#double();
    else if (char === '\\') this.#escaped();
    else if (char === '$') this.#dollar(false);
    else if (char === '`') this.#notUnderstood(this.#upTo('`', this.#at + 1));
    else if (char === '(' && this.#namesArray()) this.#beginArray();
    else if (char === ')' && this.#array !== undefined) this.#endArray();
    else if (/[;&|]/.test(char) && !this.#quoted && this.#looksLikeShell()) this.#endLine();
    else {
      this.#add(char, false);
      this.#at++;
      return;
    }
    if (this.#text[this.#at] === char && (SPACE.test(char) || /[\n;&|]/.test(char))) this.#at++;
  }

  /** Does the word begin with `NAME=` or `NAME+=`, which sets a variable? */
  #namesArray(): boolean {
    const word = this.#word;
    return word !== undefined && word.length <= NAME_MAX + 2 && /^\w+\+?=$/.test(word);
  }

  /** Does `;`, `&` or `|` end a command here? As parts of a word they may come from `ps`, which does not quote. */
  #looksLikeShell(): boolean {
    const [before = ' ', after = ' '] = [this.#text[this.#at - 1], this.#text[this.#at + 1]];
    return /[\s;&|"']/.test(before) || /[\s;&|]/.test(after);
  }

  #add(text: string, quoted: boolean): void {
    this.#word = (this.#word ?? '') + text;
    this.#quoted ||= quoted;
  }

  /** Takes a JSON object as one word, since output of `ps` has no quotes: `-device {"driver":"virtio-net-pci", …}`. */
  #rawJson(char: string): boolean {
    if (char !== '{' || this.#noJson || !/^\{\s*"/.test(this.#text.slice(this.#at, this.#at + 8)))
      return false;
    const end = jsonEnd(this.#text, this.#at);
    if (end === undefined) {
      this.#noJson = true;
      return false;
    }
    this.#add(this.#text.slice(this.#at, end), true);
    this.#at = end;
    return true;
  }

  #single(): void {
    const end = this.#text.indexOf("'", this.#at + 1);
    // an apostrophe that nothing closes is one
    if (end < 0) this.#add("'", false);
    else this.#add(this.#text.slice(this.#at + 1, end), true);
    this.#at = end < 0 ? this.#at + 1 : end + 1;
  }

  #double(): void {
    const close = closingQuote(this.#text, this.#at + 1);
    if (close === undefined) {
      this.#add('"', false);
      this.#at++;
      return;
    }
    this.#add('', true);
    this.#at++;
    while (this.#at < close) {
      const char = this.#text[this.#at] ?? '';
      const next = this.#text[this.#at + 1] ?? '';
      if (char === '$') this.#dollar(true);
      else if (char === '`') this.#notUnderstood(this.#upTo('`', this.#at + 1));
      else if (char === '\\' && /["\\$`\n]/.test(next)) {
        this.#add(next === '\n' ? '' : next, true);
        this.#at += 2;
      } else {
        this.#add(char, true);
        this.#at++;
      }
    }
    this.#at = close + 1;
  }

  #escaped(): void {
    const next = this.#text[this.#at + 1] ?? '';
    if (next !== '\n') this.#add(next, true);
    else this.#endWordIfSpaceFollows();
    this.#at += 2;
  }

  /** Ends the word at a line that goes on: words on its two sides are joined only where nothing is between them. */
  #endWordIfSpaceFollows(): void {
    if (SPACE.test(this.#text[this.#at + 2] ?? ' ')) this.#endWord();
  }

  #dollar(quoted: boolean): void {
    const next = this.#text[this.#at + 1] ?? '';
    if (next === "'" && !quoted) {
      this.#ansi();
      return;
    }
    if (next === '(') {
      this.#notUnderstood(this.#upTo(')', this.#at + 1));
      return;
    }
    const braces = /^\$\{([A-Za-z_]\w*)(?:\[[@*]\])?\}/.exec(
      this.#text.slice(this.#at, this.#at + NAME_MAX + 6),
    );
    NAME.lastIndex = this.#at + 1;
    const name = braces?.[1] ?? NAME.exec(this.#text)?.[0];
    const length = braces?.[0].length ?? (name?.length ?? 0) + 1;
    if (name === undefined) {
      if (next === '{') this.#notUnderstood(this.#upTo('}', this.#at + 1));
      else {
        this.#add('$', quoted);
        this.#at++;
      }
      return;
    }
    const words = this.#variables.get(name);
    if (words === undefined || !this.#affords(words))
      this.#notUnderstood(this.#text.slice(this.#at, this.#at + length));
    else {
      this.#expand(words, quoted, braces?.[0].includes('[') === true);
      this.#at += length;
    }
  }

  /**
   * Counts what a variable is made of or replaced by; answers false if it is too much, and the variable stays as it
   * stands.
   */
  #affords(words: readonly string[]): boolean {
    for (const { length } of words) this.#expanded += length + 1;
    return this.#expanded <= EXPANDED_MAX;
  }

  #setVariable(name: string, words: readonly string[]): void {
    if (this.#affords(words)) this.#variables.set(name, words);
    else this.#variables.delete(name);
  }

  #expand(words: readonly string[], quoted: boolean, array: boolean): void {
    // in quotes, only an array comes apart, and outside of them everything at its spaces
    const pieces = quoted && array ? words : quoted ? [words.join(' ')] : words.flatMap(splitSpaces);
    for (const [index, piece] of pieces.entries()) {
      if (index > 0) this.#endWord();
      this.#add(piece, true);
    }
  }

  /** Reads the text of a string in `$'…'`, whose escapes are those of C. */
  #ansi(): void {
    const [all = "$'", body = ''] =
      /^\$'((?:[^'\\]|\\[\s\S])*)'/.exec(this.#text.slice(this.#at, this.#at + 65536)) ?? [];
    const escapes: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r' };
    this.#add(
      body.replace(/\\([\s\S])/g, (_, char: string) => escapes[char] ?? char),
      true,
    );
    this.#at += all.length;
  }

  /** Reads the text up to the closing character; all that is left where there is none. */
  #upTo(close: string, from: number): string {
    const end = this.#text.indexOf(close, from);
    return this.#text.slice(this.#at, end < 0 ? this.#text.length : end + 1);
  }

  #notUnderstood(text: string): void {
    this.#unknown.push(`${text.slice(0, 80)}: only a shell can tell what it stands for`);
    this.#add(text, true);
    this.#at += text.length;
  }

  #skipComment(): void {
    const end = this.#text.indexOf('\n', this.#at);
    this.#at = end < 0 ? this.#text.length : end;
  }

  #endWord(): void {
    const word = this.#word;
    if (word === undefined) return;
    // 2>&1, >log, > log: of the shell
    const redirection = this.#quoted ? undefined : /^\d*(?:>>?|<)(&?)/.exec(word)?.[0];
    if (redirection === undefined && !this.#skipNext) this.#words.push(word);
    this.#skipNext = redirection === word;
    this.#word = undefined;
    this.#quoted = false;
  }

  /**
   * Ends a line, unless options follow on the next one: they belong to the command, whether or not a backslash says so.
   */
  #newLine(): void {
    if (this.#array !== undefined) {
      this.#endWord();
      return;
    }
    const rest = /\n[ \t]*(?:#[^\n]*)?/y;
    rest.lastIndex = this.#at;
    let end = this.#at;
    for (let match = rest.exec(this.#text); match !== null; match = rest.exec(this.#text))
      end = rest.lastIndex;
    this.#endWord();
    this.#at = end;
    const last = this.#words.at(-1) ?? '';
    if (this.#text[end] !== '-' && !(last.startsWith('-') && takesValue(last))) this.#endLine();
  }

  #endLine(): void {
    this.#endWord();
    const words = this.#words;
    this.#words = [];
    const unknown = this.#unknown;
    this.#unknown = [];
    if (words.length === 0) return;
    const assignments = words
      .filter((word) => !/^(export|declare|local|readonly)$/.test(word))
      .map((word) => ASSIGNMENT.exec(word));
    if (assignments.every((match) => match !== null)) {
      for (const [, name = '', more = '', value = ''] of assignments) {
        const before = more === '+' ? (this.#variables.get(name) ?? ['']).join('') : '';
        this.#setVariable(name, [before + value]);
      }
      // what a variable holds that nothing uses is nobody's concern
      return;
    }
    this.#done.push({ words, unknown });
  }

  #beginArray(): void {
    this.#array = { name: this.#word ?? '', words: this.#words };
    this.#words = [];
    this.#word = undefined;
    this.#at++;
  }

  #endArray(): void {
    this.#endWord();
    const { name = '', words = [] } = this.#array ?? {};
    const [, variable = '', more = ''] = /^(\w+)(\+?)=$/.exec(name) ?? [];
    const before = more === '+' ? (this.#variables.get(variable) ?? []) : [];
    this.#setVariable(variable, [...before, ...this.#words]);
    this.#words = [...words];
    this.#array = undefined;
    this.#at++;
  }
}

function splitSpaces(text: string): string[] {
  return text.split(/\s+/).filter((piece) => piece !== '');
}

/** Finds the offset of the quote that closes the one in front of `from`; undefined: there is none. */
function closingQuote(text: string, from: number): number | undefined {
  for (let at = from; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === '"') return at;
  }
  return undefined;
}

/** Finds the offset behind the JSON object that begins at `from`; undefined: it does not end. */
function jsonEnd(text: string, from: number): number | undefined {
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    const char = text[at];
    if (char === '"') {
      const close = closingQuote(text, at + 1);
      if (close === undefined) return undefined;
      at = close;
    } else if (char === '{') depth++;
    else if (char === '}') {
      depth--;
      if (depth === 0) return at + 1;
    }
  }
  return undefined;
}
