/** Which of the seed document's three columns a step belongs to. */
export type Column = 'core' | 'transport' | 'device';

/** One step of the save or load procedure, told when it is done. */
export interface Step {
  readonly procedure: 'save' | 'load';
  readonly column: Column;
  /** QEMU's callback, where the step crosses into another layer: `save_config`, `load_queue`, … */
  readonly call?: string;
  /** What is done. */
  readonly action: string;
  /** The queue, for steps done once a queue. */
  readonly queue?: number;
  /** Bytes of the body, `[start, end)`; equal where the step moves no bytes. */
  readonly start: number;
  readonly end: number;
}

/** Is told each step as it happens. */
export type StepObserver = (step: Step) => void;
