import type { DataStream } from './data-stream.ts';
import type { Ccw } from './structures.ts';

/** Ending of a channel command. */
export type CommandEnding = 'done' | 'command-reject' | 'program-check';

/** Device behind a subchannel. */
export interface ControlUnit {
  /** Runs a command that is not one of those that every control unit knows. `data` is at the start of its data area. */
  execute(ccw: Ccw, data: DataStream): CommandEnding;
  /** Is told that the subchannel was disabled. */
  disabled(): void;
}
