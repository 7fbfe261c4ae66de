/**
 * The console device for programs that never make bytes of its state: without the format.
 *
 * You bring:  what `@virtkit/device-console` is brought, the transport from such an entry too (`@virtkit/transport-pci/live`).
 * You get:    the same {@link ConsoleDevice}; `device.capture()` and `restore()` work, with states as plain data.
 * Not here:   `virtioConsole`, and what needs it: sections of migration streams, snapshots of v86.
 * @packageDocumentation
 */
export { CONSOLE_FEATURE } from './features.ts';
export type { GuestPort, PortBackend } from './live/backend.ts';
export { ConsoleDevice } from './live/device.ts';
export type { ConsoleOptions, ConsoleSize, PortOptions } from './live/options.ts';
export { type ConnectedPort, type Terminal, terminalPort } from './ports/terminal.ts';
export { type ByteSink, type ByteSource, streamPort } from './ports/web-streams.ts';
export type { ConsolePort, ConsoleState } from './state.ts';
