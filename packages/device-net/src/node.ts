/**
 * Networks of QEMU for `@virtkit/device-net`: an Ethernet that guests here and guests in QEMU share.
 *
 * You bring:  a QEMU with `-netdev stream`, `-netdev dgram` or `-netdev socket`.
 * You get:    back ends for a card, or for `connect` of `@virtkit/device-net/switch`; a server that gives each QEMU a port of a switch.
 * Not here:   datagrams over UNIX sockets, which Node does not have; multicast.
 * @packageDocumentation
 */
export type { LinkCounters, LinkEvent, LinkOptions, ReconnectOptions } from './link/types.ts';
export type { StreamAddress } from './node/address.ts';
export { DatagramBackend, type DatagramOptions } from './node/datagram.ts';
export { StreamServer, type StreamServerOptions } from './node/server.ts';
export { type ConnectOptions, type ListenOptions, StreamBackend } from './node/stream.ts';
export type { OffloadCounters } from './offload/software.ts';
