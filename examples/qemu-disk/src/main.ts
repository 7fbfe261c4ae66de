// npm start -- URL OVERLAY SOCKET
import { serveImage } from './disk.ts';

const [url, overlay, socket] = process.argv.slice(2);
if (url === undefined || overlay === undefined || socket === undefined)
  throw new Error('usage: main.ts URL OVERLAY SOCKET');
const disk = await serveImage({ url, overlay, socket, onEvent: ({ name }) => console.log(name) });
console.log(`-object memory-backend-memfd,id=mem,size=1G,share=on -m 1G -machine q35,memory-backend=mem
-chardev socket,id=c0,path=${socket} -device vhost-user-blk-pci,chardev=c0`);
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, async () => {
    await disk.close();
    console.log(`${disk.written()} bytes in ${overlay}`);
  });
