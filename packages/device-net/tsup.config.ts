import { library } from '../../tsup.base.ts';

export default {
  ...library,
  entry: [
    'src/index.ts',
    'src/type.ts',
    'src/switch.ts',
    'src/offload.ts',
    'src/websocket.ts',
    'src/node.ts',
  ],
  // checksums, queues and headers are in most of them
  splitting: true,
  external: [/^node:/],
  removeNodeProtocol: false,
};
