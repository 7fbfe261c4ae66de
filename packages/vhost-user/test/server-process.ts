// A server that a test kills: a disk in a file, whose writes take a while, so that some are in flight at any moment.
import { BlkDevice } from '@virtkit/device-blk';
import { fileDisk } from '@virtkit/device-blk/node';
import { serveVhostUser } from '../src/index.ts';

const [, , path = '', image = '', queues = '1'] = process.argv;
const file = fileDisk(image, { async: true });
let turn = 0;
const backend = Object.assign(Object.create(file), {
  write: (...args: Parameters<typeof file.write>) => {
    const done = Promise.resolve(file.write(...args));
    // in another order than they came in
    const wait = [0, 30, 5, 15][turn++ % 4];
    return done.then(() => new Promise<void>((resolve) => setTimeout(resolve, wait)));
  },
});
const server = serveVhostUser(new BlkDevice({ backend, queues: Number(queues) }), {
  path,
  onEvent: (event) => console.log(JSON.stringify(event)),
});
console.log(JSON.stringify({ name: 'ready' }));
process.once('SIGTERM', () => server.close());
