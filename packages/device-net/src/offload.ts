/**
 * Checksums and segmentation in software, for networks without offloads.
 *
 * You bring:  packets of a `NetDevice` (its back end's `send`).
 * You get:    complete Ethernet frames, one after the other, written to where you want them.
 * Not here:   joining segments to larger packets (GRO), UDP tunnels.
 * @packageDocumentation
 */
export { OffloadCounters, SOFTWARE_OFFLOADS, SoftwareOffload } from './offload/software.ts';
