/**
 * A network behind a WebSocket: the relays that browser emulators use, where a binary message is an Ethernet frame.
 *
 * You bring:  the relay's address, or a WebSocket that is open.
 * You get:    a back end for a card, or for `connect` of `@virtkit/device-net/switch`: reconnects, bounded queues, counters, events.
 * Not here:   a relay. `examples/net-relay` is one.
 * @packageDocumentation
 */
export type { LinkCounters, LinkEvent, LinkOptions, ReconnectOptions } from './link/types.ts';
export type { OffloadCounters } from './offload/software.ts';
export { WebSocketBackend, type WebSocketOptions } from './websocket/backend.ts';
export type { SocketEvent, WebSocketLike } from './websocket/socket.ts';
