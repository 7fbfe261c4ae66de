/** Layer that does a step of the save or load procedure. */
export type Column = 'core' | 'transport' | 'device';

/** One step of the save or load procedure, told when it is done. */
export interface Step {
  /** Procedure that the step belongs to: a state is being saved or loaded. */
  readonly procedure: 'save' | 'load';
  /** Layer that does the step. */
  readonly column: Column;
  /** QEMU's callback, where the step crosses into another layer: `save_config`, `load_queue`, … */
  readonly call?: string;
  /** Description of the step in a few words. */
  readonly action: string;
  /** Number of the queue, for steps done once a queue. */
  readonly queue?: number;
  /** The first byte of the body that the step moves; equal to {@link end} where it moves none. */
  readonly start: number;
  /** The first byte behind what the step moves. */
  readonly end: number;
}

/** Function that is called after each step. */
export type StepObserver = (step: Step) => void;
