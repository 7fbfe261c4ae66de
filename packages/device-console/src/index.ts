/**
 * virtio-console: the live device with all its ports, and its part of a virtio device's saved state.
 *
 * You bring:  a transport (`@virtkit/transport-*`), or `virtioDevice` of `@virtkit/core` for states alone, and what the ports are connected
 *             to: a terminal, streams, or your own {@link PortBackend}.
 * You get:    consoles and serial ports that can be plugged, resized, throttled, and moved at any moment, half-written buffers too.
 * Not here:   a terminal emulator.
 * @packageDocumentation
 */
export { describeConsoleConfig } from './config-space.ts';
export { ConsoleDevice } from './device.ts';
export { consoleFeatures } from './features.ts';
export { virtioConsole } from './layer.ts';
export * from './live.ts';
export type { NdescsPlace, PortBuffer } from './port-buffer.ts';
