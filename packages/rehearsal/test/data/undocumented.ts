/** Something with a member that has no comment. */
export class Shown {
  /** A number. */
  readonly told = 1;
  readonly silent = 2;
  protected hidden = 3;
  readonly #own = 4;

  /** The sum. */
  sum(): number {
    return this.told + this.silent + this.hidden + this.#own;
  }
}
