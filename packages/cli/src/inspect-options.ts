/** Options of `virtkit inspect`. */
export interface InspectOptions {
  /** True to print JSON. */
  readonly json?: boolean;
  /** True to print the bytes of each field. */
  readonly hex?: boolean;
  /** True to print all fields of all devices, rather than a table of them. */
  readonly all?: boolean;
  /** Part of the titles of the devices that are shown. */
  readonly device?: string;
  /** Path of the one field that is shown: `queues[0].num`. */
  readonly path?: string;
}
