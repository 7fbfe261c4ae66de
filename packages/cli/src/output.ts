import { randomBytes } from 'node:crypto';
import pc from 'picocolors';

const { env, stdout } = process;

const painter = pc.createColors(
  (env['NO_COLOR'] ?? '') === '' &&
    ((env['FORCE_COLOR'] ?? '0') !== '0' || (stdout.isTTY === true && env['TERM'] !== 'dumb')),
);

/** Text that stands for ESC where a colour is ours, until the text is written: a stream cannot guess it. */
const ESCAPE = `\ufdd0${randomBytes(8).toString('hex')}`;

const paint =
  (color: (text: string) => string) =>
  (text: string): string =>
    color(harmless(text)).replaceAll('\x1b', ESCAPE);

/**
 * Colours for people: on a terminal, or where FORCE_COLOR asks for them, and never with NO_COLOR. picocolors by itself
 * colours files and pipes, too, where `CI` is set.
 */
export const colors = {
  bold: paint(painter.bold),
  dim: paint(painter.dim),
  red: paint(painter.red),
  yellow: paint(painter.yellow),
} as const;

/**
 * Pattern of control characters but for line ends, and of those that turn the direction of writing or cannot be seen.
 */
const HIDDEN =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  /[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

/**
 * Makes text that cannot drive a terminal: what it could do that with becomes `\u009b`, which JSON reads back as it
 * was.
 */
export function harmless(text: string): string {
  return text.replace(HIDDEN, escaped);
}

/** Writes lines for people, each with its end. A name in one of them cannot make two of it. */
export function textOf(lines: readonly string[]): string {
  return lines.map((line) => `${line.replaceAll('\n', escaped)}\n`).join('');
}

// without a listener an error would be thrown; write() hears of it as well
stdout.on('error', () => {});

/**
 * Writes data to stdout. A reader that goes away (head, less) is not an error.
 * @throws Error for what else keeps it from being written, such as a full disk
 */
export function write(text: string): Promise<void> {
  return new Promise((resolve, reject) =>
    stdout.write(harmless(text).replaceAll(ESCAPE, '\x1b'), (error) => {
      if (error === null || error === undefined || (error as NodeJS.ErrnoException).code === 'EPIPE')
        resolve();
      else reject(new Error(`standard output: ${error.message}`, { cause: error }));
    }),
  );
}

/** Writes a message to stderr, in one line. */
export function say(text: string): void {
  process.stderr.write(`virtkit: ${harmless(text).replaceAll('\n', escaped)}\n`);
}
