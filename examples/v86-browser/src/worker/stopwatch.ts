/** Times the steps of something, in ms. */
export class Stopwatch {
  readonly steps: { readonly name: string; readonly ms: number }[] = [];
  #last = performance.now();

  /** The step that ends now. */
  lap(name: string): void {
    const now = performance.now();
    this.steps.push({ name, ms: now - this.#last });
    this.#last = now;
  }
}
