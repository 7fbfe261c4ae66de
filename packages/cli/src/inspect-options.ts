/** Options of `virtkit inspect`. */
export interface InspectOptions {
  /** Print JSON. */
  readonly json?: boolean;
  /** Print the bytes of each field. */
  readonly hex?: boolean;
  /** Print all fields of all devices, rather than a table of them. */
  readonly all?: boolean;
  /** Part of the titles of the devices that are shown. */
  readonly device?: string;
  /** Path of the one field that is shown: `queues[0].num`. */
  readonly path?: string;
}
