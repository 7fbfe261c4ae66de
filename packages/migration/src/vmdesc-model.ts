/** A field in a vmdesc. Everything is optional: the text comes from a stranger. */
export interface DescField {
  /** QEMU's name of the field. */
  readonly name?: string;
  /** Type of the field: `uint32`, `buffer`, `struct`, … */
  readonly type?: string;
  /** Size of one element in bytes. */
  readonly size?: number;
  /** Number of elements that the entry stands for; absent: 1. */
  readonly array_len?: number;
  /**
   * Index of the element of an array that the entry describes; absent: it describes all of them, or the field is no
   * array.
   */
  readonly index?: number;
  /** Structure of the elements, where the type is `struct`. */
  readonly struct?: DescVmsd;
  /**
   * Elements of a list. `vstruct`, `qtailq`, `qlist`, `gtree`, `tmp` have the members of the nested vmsd directly in
   * the field, and repeat the keys for each element: here they are apart.
   */
  readonly elements?: readonly DescVmsd[];
}

/** Structure in a vmdesc, as a stranger's text describes it. */
export interface DescVmsd {
  /** Name of the structure. QEMU: `VMStateDescription.name`. */
  readonly vmsd_name?: string;
  /** Version of the structure. */
  readonly version?: number;
  /** Fields of the structure in the order of the wire. */
  readonly fields?: readonly DescField[];
  /** Subsections that were sent. */
  readonly subsections?: readonly DescVmsd[];
}

/** Device in a vmdesc. */
export interface DescDevice extends DescVmsd {
  /** Name of the section. */
  readonly name?: string;
  /** Number that tells apart several sections of the same name. */
  readonly instance_id?: number;
  /** Size in bytes of a device with an old-style handler, which QEMU does not describe further. */
  readonly size?: number;
}

/** Description of the stream that QEMU writes behind its end, for its own `analyze-migration.py`. */
export interface Vmdesc {
  /** Length of a target page in bytes. */
  readonly page_size?: number;
  /** Content of the configuration section. */
  readonly configuration?: DescVmsd;
  /** Sections, in the order of the stream. */
  readonly devices: readonly DescDevice[];
}
