import { NullSink } from './events.ts';

/** Has the stream ended, and does everything in it agree? */
export class EndProbe extends NullSink {
  #end = false;
  #wrong = false;

  get ended(): boolean {
    return this.#end && !this.#wrong;
  }

  override eof(): void {
    this.#end = true;
  }

  override finding(): void {
    this.#wrong = true;
  }
}
