/**
 * Number of deliveries that are left until others get to run, for all switches of the program together: those that are
 * connected deliver to each other inside of each other's deliveries, and the outermost one sets the number.
 */
class Turn {
  left = 0;
  #depth = 0;

  enter(deliveries: number): void {
    if (this.#depth === 0) this.left = deliveries;
    this.#depth++;
  }

  leave(): void {
    this.#depth--;
  }
}

export const turn: Turn = new Turn();
