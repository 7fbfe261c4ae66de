/** A field in a vmdesc. Everything is optional: the text comes from a stranger. */
export interface DescField {
  readonly name?: string;
  readonly type?: string;
  readonly size?: number;
  readonly array_len?: number;
  readonly index?: number;
  readonly struct?: DescVmsd;
  /**
   * `vstruct`, `qtailq`, `qlist`, `gtree`, `tmp` have the members of the nested vmsd directly in the field, and repeat the keys
   * for each element: here they are apart.
   */
  readonly elements?: readonly DescVmsd[];
}

/** A vmsd in a vmdesc. */
export interface DescVmsd {
  readonly vmsd_name?: string;
  readonly version?: number;
  readonly fields?: readonly DescField[];
  readonly subsections?: readonly DescVmsd[];
}

/** A device in a vmdesc. */
export interface DescDevice extends DescVmsd {
  readonly name?: string;
  readonly instance_id?: number;
  /** Of devices with an old-style handler. */
  readonly size?: number;
}

/** What QEMU writes behind the end of a stream, for its own `analyze-migration.py`. */
export interface Vmdesc {
  readonly page_size?: number;
  readonly configuration?: DescVmsd;
  readonly devices: readonly DescDevice[];
}
