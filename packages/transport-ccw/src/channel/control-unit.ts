import type { DataStream } from './data-stream.ts';
import type { Ccw } from './structures.ts';

/** How a channel command ended. */
export type CommandEnding = 'done' | 'command-reject' | 'program-check';

/** The device behind a subchannel. */
export interface ControlUnit {
  /** Runs a command that is not one of those that every control unit knows. `data` is at the start of its data area. */
  execute(ccw: Ccw, data: DataStream): CommandEnding;
  /** The subchannel was disabled. */
  disabled(): void;
}
