import { NullSink } from './events.ts';

/** Sink that finds out whether the stream has ended and everything in it agrees. */
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
