import { library } from '../../tsup.base.ts';

export default {
  ...library,
  entry: ['src/index.ts', 'src/node.ts', 'src/type.ts'],
  // the entry points share their pieces
  splitting: true,
  external: [/^node:/],
  removeNodeProtocol: false,
};
