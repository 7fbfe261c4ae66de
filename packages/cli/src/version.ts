import { createRequire } from 'node:module';

/** Version that is set where the command is built into one file, beside which there is no `package.json`. */
declare const VIRTKIT_VERSION: string | undefined;

/** True if the command is in one file, with no package beside it. */
export const isSingleFile: boolean = typeof VIRTKIT_VERSION === 'string';

/** Version of this package, read when the command runs, since a release gives it after the build. */
export const VERSION: string =
  typeof VIRTKIT_VERSION === 'string'
    ? VIRTKIT_VERSION
    : (createRequire(import.meta.url)('../package.json') as { readonly version: string }).version;
