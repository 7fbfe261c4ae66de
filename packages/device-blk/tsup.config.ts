import { library } from '../../tsup.base.ts';

export default {
  ...library,
  entry: [
    'src/index.ts',
    'src/type.ts',
    'src/node.ts',
    'src/overlay.ts',
    'src/opfs.ts',
    'src/blob.ts',
    'src/http.ts',
  ],
  // the entry points share their pieces
  splitting: true,
  external: [/^node:/],
  removeNodeProtocol: false,
};
