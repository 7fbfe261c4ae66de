import { parseArgs } from 'node:util';
import { relay } from './relay.ts';

// Guests in browser pages and guests in QEMU on one Ethernet. A page connects with
//   new WebSocketBackend({ url: 'ws://127.0.0.1:8086/' })   (or with v86's own `network_relay_url`),
// and a QEMU with
//   -netdev stream,id=n,server=off,addr.type=inet,addr.host=127.0.0.1,addr.port=8087 -device virtio-net-pci,netdev=n

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '8086' },
    host: { type: 'string', default: '127.0.0.1' },
    qemu: { type: 'string', default: '8087' },
    origin: { type: 'string', multiple: true },
  },
});

const made = await relay({
  port: Number(values.port),
  host: values.host,
  qemu: /^\d+$/.test(values.qemu) ? { port: Number(values.qemu) } : { path: values.qemu },
  ...(values.origin !== undefined && { origins: values.origin }),
  onEvent: (who, event) => {
    const reason = 'reason' in event ? `: ${event.reason}` : '';
    console.log(`${who} ${event.name}${reason}`);
  },
});
const { address } = made.qemu ?? {};
console.log(
  `WebSockets: ws://${values.host}:${made.port}/   QEMU: ${address?.path ?? `port ${address?.port}`}`,
);

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void made.close());
