/**
 * Files that people keep streams in, or take for them: what a file is by its first bytes, and how the stream is to be had.
 *
 * You bring:  the first bytes of a file, and what you can unpack.
 * You get:    how to unpack it, or an error that says what it is and what to do.
 * Not here:   the unpacking.
 * @packageDocumentation
 */
export {
  asRaw,
  type Format,
  formatOf,
  HEAD_BYTES,
  isPackingCode,
  type Packing,
  QCOW2_MAGIC,
} from './files/formats.ts';
