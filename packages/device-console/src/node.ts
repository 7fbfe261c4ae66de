/**
 * Streams of Node at a port: sockets, files, pipes, standard input and output.
 * @packageDocumentation
 */
export { nodePort } from './node/streams.ts';
