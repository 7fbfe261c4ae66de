/** Whose step of the procedure it is. */
export type Column = 'core' | 'transport' | 'device';

/** One step of the save or load procedure, told when it is done. */
export interface Step {
  /** Is a state being saved or loaded? */
  readonly procedure: 'save' | 'load';
  /** Whose step it is. */
  readonly column: Column;
  /** QEMU's callback, where the step crosses into another layer: `save_config`, `load_queue`, … */
  readonly call?: string;
  /** What is done. */
  readonly action: string;
  /** The queue, for steps done once a queue. */
  readonly queue?: number;
  /** The first byte of the body that the step moves; equal to {@link end} where it moves none. */
  readonly start: number;
  /** The first byte behind what the step moves. */
  readonly end: number;
}

/** Is told each step as it happens. */
export type StepObserver = (step: Step) => void;
