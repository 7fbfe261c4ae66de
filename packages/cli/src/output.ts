import pc from 'picocolors';

const { env, stdout } = process;

/**
 * Colours for people: on a terminal, or where FORCE_COLOR asks for them, and never with NO_COLOR. picocolors by itself
 * colours files and pipes, too, where `CI` is set.
 */
export const colors = pc.createColors(
  (env['NO_COLOR'] ?? '') === '' &&
    ((env['FORCE_COLOR'] ?? '0') !== '0' || (stdout.isTTY === true && env['TERM'] !== 'dumb')),
);

/** Control characters, but for line ends, tabs and colours: a stream may have them in its names. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /\x1b(?!\[(?:[12]|22|3\d)m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]/g;

/** Text that cannot drive a terminal: control characters as `\u009b`, which JSON reads back as they were. */
export function harmless(text: string): string {
  return text.replace(CONTROL, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

// without a listener an error would be thrown; write() hears of it as well
stdout.on('error', () => {});

/**
 * Data for stdout. A reader that goes away (head, less) is not an error.
 * @throws Error for what else keeps it from being written, such as a full disk
 */
export function write(text: string): Promise<void> {
  return new Promise((resolve, reject) =>
    stdout.write(harmless(text), (error) => {
      if (error === null || error === undefined || (error as NodeJS.ErrnoException).code === 'EPIPE')
        resolve();
      else reject(new Error(`standard output: ${error.message}`, { cause: error }));
    }),
  );
}

/** A message for stderr. */
export function say(text: string): void {
  process.stderr.write(`virtkit: ${harmless(text)}\n`);
}
