/** Messages out of a cluster's YAML, where a long one goes on over several lines. */

/** Pattern of keys whose values are messages. */
const KEY = /^(\s*(?:- )?)(?:message|failureReason|reason|msg|note):\s+(\S.*)$/;
/** Largest number of lines that one message goes on for. */
const LINES_MAX = 64;

/** Joins the lines of messages that went over several each into one. */
export function* unfolded(lines: Iterable<string>): Generator<string, void> {
  let open: Folded | undefined;
  for (const line of lines) {
    if (open?.takes(line)) {
      if (!open.complete) continue;
      yield open.text();
      open = undefined;
      continue;
    }
    if (open !== undefined) yield* open.given();
    open = folded(line);
    if (open === undefined) yield line;
    else if (open.complete) {
      yield open.text();
      open = undefined;
    }
  }
  if (open !== undefined) yield* open.given();
}

/** Finds the message that begins in a line, if one does. */
function folded(line: string): Folded | undefined {
  const [, indent, value] = line.length > 1000 ? [] : (KEY.exec(line) ?? []);
  return indent === undefined || value === undefined ? undefined : new Folded(line, indent.length, value);
}

/** Message whose end has not come. */
class Folded {
  readonly #parts: string[];
  readonly #lines: string[];
  readonly #quote: string | undefined;
  readonly #indent: number;
  /** True if the closing quote has come. */
  complete: boolean;

  constructor(line: string, indent: number, value: string) {
    this.#lines = [line];
    this.#parts = [value.trim()];
    this.#indent = indent;
    this.#quote = /^['"]/.exec(value)?.[0];
    this.complete = this.#quote !== undefined && closes(value.slice(1), this.#quote);
  }

  /** Takes a line if it belongs to the message. */
  takes(line: string): boolean {
    const deeper = line.length - line.trimStart().length > this.#indent;
    if (!deeper || this.#lines.length >= LINES_MAX) return false;
    this.#lines.push(line);
    this.#parts.push(line.trim());
    if (this.#quote !== undefined) this.complete = closes(line, this.#quote);
    return true;
  }

  text(): string {
    return unquoted(this.#parts.join(' '));
  }

  /**
   * Gives up the message where the next line does not belong to it: a quote that nobody closes is no YAML, and its
   * lines stand for themselves.
   */
  given(): readonly string[] {
    return this.#quote === undefined ? [this.text()] : this.#lines;
  }
}

/** Does a text end with a quote that is not part of a doubled or escaped one? */
function closes(text: string, quote: string): boolean {
  const end = text.trimEnd();
  if (!end.endsWith(quote)) return false;
  if (quote === '"') return !end.endsWith('\\"');
  const quotes = /'+$/.exec(end)?.[0].length ?? 0;
  return quotes % 2 === 1;
}

function unquoted(text: string): string {
  if (text.length > 1 && text.startsWith("'") && text.endsWith("'"))
    return text.slice(1, -1).replaceAll("''", "'");
  if (text.length > 1 && text.startsWith('"') && text.endsWith('"'))
    return text.slice(1, -1).replaceAll('\\"', '"').replaceAll("''", "'");
  return text.replace(/^[|>][+-]?\s+/, '').replaceAll("''", "'");
}
