import { library } from '../../tsup.base.ts';

export default {
  ...library,
  entry: ['src/index.ts', 'src/type.ts'],
  // the device is in both
  splitting: true,
};
