/**
 * An Ethernet switch in the program, as a back end for the network cards of this package.
 *
 * You bring:  cards made with `backend: lan.port()`.
 * You get:    learned addresses, flooding, queues of fixed size with counters.
 * Not here:   VLANs, spanning trees, software segmentation.
 * @packageDocumentation
 */
export { NetSwitch, type PortCounters, type SwitchOptions, type SwitchPort } from './switch/switch.ts';
