/**
 * A copy-on-write overlay over any back end: the base is only read, what the guest writes stays in memory, and can be exported.
 * @packageDocumentation
 */
export { OverlayDisk, type OverlayOptions, overlayDisk } from './disk/overlay.ts';
export type { OverlayChunks } from './disk/overlay-file.ts';
