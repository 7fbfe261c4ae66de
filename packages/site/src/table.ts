/** A Markdown table. Cells are Markdown; a `|` in them is text. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

/** Text in the typewriter face. */
export const code = (text: string): string => (text === '' ? '' : `\`${text}\``);

/** Text of the code in a page: what Markdown and HTML would take for marks is shown as it is. */
export const plain = (text: string): string =>
  text.replaceAll(/[\\`*_[\]<>&{}]/g, (mark) => `&#${mark.charCodeAt(0)};`);
