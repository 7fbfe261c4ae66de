/**
 * An Ethernet switch in the program, as a back end for the network cards of this package.
 *
 * You bring:  cards made with `backend: lan.port()`.
 * You get:    learned addresses, flooding, queues of fixed size with counters; packets with offloads from card to card as they are,
 *             and taken apart for cards and networks that want complete frames; `connect` for networks outside.
 * Not here:   VLANs, spanning trees.
 * @packageDocumentation
 */
export { connect } from './link/cable.ts';
export { FramePacket } from './link/frame-packet.ts';
export {
  NetSwitch,
  type PortCounters,
  type SwitchEvent,
  type SwitchOptions,
  type SwitchPort,
} from './switch/switch.ts';
