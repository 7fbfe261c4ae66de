import { fileURLToPath } from 'node:url';

/** Root of the repository, with a slash at its end. */
export const repository = fileURLToPath(new URL('../../../', import.meta.url));
/** Root of this package, with a slash at its end. */
export const site = fileURLToPath(new URL('../', import.meta.url));
/** The pages as they are written. */
export const pages = `${site}pages/`;
/** Folder of pages that are made, and of what making them needs. Not in git. */
export const made = `${site}.made/`;
/** The site, as a host serves it. */
export const output = `${site}dist/`;
