/** Marks that copying and terminals add to a log, and how they are taken away. */

/** Characters that HTML writes as a name or number. */
const ENTITIES: Readonly<Record<string, string>> = {
  quot: '"',
  amp: '&',
  lt: '<',
  gt: '>',
  apos: "'",
  nbsp: ' ',
  '#34': '"',
  '#39': "'",
  '#x27': "'",
  '#x22': '"',
};

// biome-ignore lint/suspicious/noControlCharactersInRegex: terminals write them
const COLOURS = /\x1b(?:\[[0-9;?]{0,32}[ -/]{0,4}[@-~]|\][^\x07\x1b]{0,256}(?:\x07|\x1b\\)?)/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: terminals write it
const DIRTY = /[\x1b&‘’“”]|#033/;
const ENTITY = /&(quot|amp|lt|gt|apos|nbsp|#34|#39|#x27|#x22);/gi;

/** Cleans a line of colours, HTML entities and typographic quotes. */
export function cleaned(text: string): string {
  if (!DIRTY.test(text)) return text;
  return text
    .replace(COLOURS, '')
    .replace(/#033\[[0-9;]{0,32}m/g, '')
    .replace(/&#(\d{1,5});/g, (_, code: string) => String.fromCharCode(Number(code)))
    .replace(ENTITY, (whole, name: string) => ENTITIES[name.toLowerCase()] ?? whole)
    .replace(/[‘’]/g, "'")
    .replace(/[“”]/g, '"');
}
