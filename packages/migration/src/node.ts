/**
 * Connections of Node for `@virtkit/migration/live`.
 * @packageDocumentation
 */
export { streamDuplex } from './node/stream-duplex.ts';
