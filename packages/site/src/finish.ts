// What Starlight's pages lack for people without a mouse, put into them once they are built: whatever scrolls by itself takes the focus and has a name.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Goes over all pages in `folder` but the inspector's, which is no page of Starlight's. */
export async function finishPages(folder: string): Promise<void> {
  for (const path of await readdir(folder, { recursive: true })) {
    if (!path.endsWith('.html') || path.startsWith('inspector/')) continue;
    const text = await readFile(join(folder, path), 'utf8');
    await writeFile(join(folder, path), finished(text));
  }
}

/** A page whose tables take the focus, and whose blocks of code, which are regions where they scroll, have names of their own. */
export function finished(html: string): string {
  let examples = 0;
  return html
    .replaceAll('<table>', '<table tabindex="0">')
    .replaceAll(
      '<pre data-language=',
      () => `<pre tabindex="0" aria-label="Example ${++examples}" data-language=`,
    );
}
