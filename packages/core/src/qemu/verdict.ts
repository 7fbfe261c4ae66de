/** Statement that speaks for or against a QEMU loading a state. */
export interface Verdict {
  /** Short name of the kind of verdict, for programs; it does not change: `ring-size`. */
  readonly code: string;
  /**
   * `refused`: the target does not load the stream. `unknown`: something about the target is not known here, so that no
   * answer can be given. `depends`: it does not load, unless something holds that the stream does not tell. `note`: it
   * loads, and something is worth knowing.
   */
  readonly severity: 'refused' | 'unknown' | 'depends' | 'note';
  /** The device's title and the field: `virtio-blk@0000:00:02.0 / queues[0].num`. */
  readonly path: string;
  /** Sentence that says what is the matter, with the values. */
  readonly reason: string;
  /** Line that QEMU prints when it refuses the state for this reason. */
  readonly qemuSays?: string;
  /** The specification's name of the feature that is concerned: `VIRTIO_NET_F_RSS`. */
  readonly feature?: string;
  /** The property of QEMU that decides: `rss`. */
  readonly property?: string;
  /** The machine version with which the property's default changed: `8.2`. */
  readonly machine?: string;
  /** The place in the specification: `Virtio 1.3 §5.1.3`. */
  readonly spec?: string;
  /** Sentence that says what the operator can do. */
  readonly advice?: string;
  /** True if the command `virtkit convert` makes the state load. */
  readonly convertible?: boolean;
}

/** Parts of a {@link Verdict} that not every verdict has. */
export type VerdictDetails = Omit<Verdict, 'code' | 'severity' | 'path' | 'reason'>;

/** Makes a verdict that the target does not load the state. */
export function refusal(code: string, path: string, reason: string, details: VerdictDetails = {}): Verdict {
  return { code, severity: 'refused', path, reason, ...details };
}

/** Makes a verdict that something about the target is not known, so that no answer can be given. */
export function notKnown(code: string, path: string, reason: string, details: VerdictDetails = {}): Verdict {
  return { code, severity: 'unknown', path, reason, ...details };
}

/** Makes a verdict that the target loads the state if something holds that the stream does not tell. */
export function condition(code: string, path: string, reason: string, details: VerdictDetails = {}): Verdict {
  return { code, severity: 'depends', path, reason, ...details };
}

/** Makes a verdict that the target loads the state, and that something is worth knowing. */
export function remark(code: string, path: string, reason: string, details: VerdictDetails = {}): Verdict {
  return { code, severity: 'note', path, reason, ...details };
}
