import type { Field } from '@virtkit/vmstate';

/** A state of no bytes. */
export const empty: Field<null> = {
  type: 'empty',
  minSize: 0,
  decode: () => null,
  encode: () => {},
  toJSON: () => null,
  fromJSON: () => null,
};
