/** A field in a vmdesc. Everything is optional: the text comes from a stranger. */
export interface DescField {
  /** QEMU's name of the field. */
  readonly name?: string;
  /** What it is: `uint32`, `buffer`, `struct`, … */
  readonly type?: string;
  /** Bytes of one element. */
  readonly size?: number;
  /** Elements that this entry stands for; absent: 1. */
  readonly array_len?: number;
  /** Which element of an array it is; absent: all of them, or no array. */
  readonly index?: number;
  /** What the elements are made of, where the type is `struct`. */
  readonly struct?: DescVmsd;
  /**
   * `vstruct`, `qtailq`, `qlist`, `gtree`, `tmp` have the members of the nested vmsd directly in the field, and repeat the keys
   * for each element: here they are apart.
   */
  readonly elements?: readonly DescVmsd[];
}

/** A vmsd in a vmdesc. */
export interface DescVmsd {
  /** Name of the structure. QEMU: `VMStateDescription.name`. */
  readonly vmsd_name?: string;
  /** Version of the structure. */
  readonly version?: number;
  /** Its fields in the order of the wire. */
  readonly fields?: readonly DescField[];
  /** Subsections that were sent. */
  readonly subsections?: readonly DescVmsd[];
}

/** A device in a vmdesc. */
export interface DescDevice extends DescVmsd {
  /** Name of the section. */
  readonly name?: string;
  /** Which of several sections of this name it is. */
  readonly instance_id?: number;
  /** Bytes of a device with an old-style handler, which QEMU does not describe further. */
  readonly size?: number;
}

/** What QEMU writes behind the end of a stream, for its own `analyze-migration.py`. */
export interface Vmdesc {
  /** Bytes of a page of the target. */
  readonly page_size?: number;
  /** What the configuration section holds. */
  readonly configuration?: DescVmsd;
  /** The sections, in the order of the stream. */
  readonly devices: readonly DescDevice[];
}
