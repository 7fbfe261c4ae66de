import type { TraceNode } from '@virtkit/vmstate';
import type { Column, Step, StepObserver } from '../contract/step.ts';

/** Reporter of steps to an observer, which does nothing if there is none. */
export class Steps {
  readonly #procedure: Step['procedure'];
  readonly #observer: StepObserver | undefined;

  constructor(procedure: Step['procedure'], observer: StepObserver | undefined) {
    this.#procedure = procedure;
    this.#observer = observer;
  }

  get wanted(): boolean {
    return this.#observer !== undefined;
  }

  tell(
    column: Column,
    action: string,
    start: number,
    end: number,
    more: { call?: string; queue?: number } = {},
  ): void {
    this.#observer?.({ procedure: this.#procedure, column, action, ...more, start, end });
  }

  /** Reports one step for each of core's subsections, and the transport's inside `virtio/extra_state`. */
  subsections(nodes: readonly TraceNode[], base: number): void {
    for (const node of nodes) {
      const [start, end] = [node.start - base, node.end - base];
      this.tell('core', `subsection ${node.wire}`, start, end);
      if (node.name === 'extraState') {
        const call = this.#procedure === 'save' ? 'save_extra_state' : 'load_extra_state';
        this.tell('transport', 'transport-specific extra state', start + 6 + node.wire.length, end, { call });
      }
    }
  }
}
