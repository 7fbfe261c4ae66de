import { library } from '../../tsup.base.ts';

export default {
  ...library,
  entry: ['src/index.ts', 'src/types.ts'],
  // the layers are in both
  splitting: true,
};
