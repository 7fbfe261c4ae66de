import { library } from '../../tsup.base.ts';

export default {
  ...library,
  entry: ['src/index.ts', 'src/live.ts', 'src/rewrite.ts', 'src/node.ts'],
  // the stream's reader and writer are in both
  splitting: true,
  external: [/^node:/],
  removeNodeProtocol: false,
};
