/**
 * Streams written on with changes.
 *
 * You bring:  a `StreamParser` that reads the stream, and what becomes another.
 * You get:    {@link StreamRewriter}: bodies of sections, pages of RAM and the sizes in the vmdesc are changed, all else stays byte for byte.
 * Not here:   what is to be changed; see `convertStream` of `@virtkit/compat` and `executeRequests` of `@virtkit/visit`.
 * @packageDocumentation
 */
export type { ChangedPage } from './rewrite/changed-page.ts';
export { type Changes, StreamRewriter } from './rewrite/stream-rewriter.ts';
