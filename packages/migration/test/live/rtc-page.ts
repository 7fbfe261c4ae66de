import { channelDuplex, receiveLive, sendLive } from '../../src/live.ts';
import { SmallMachine, SmallWorld } from './small.ts';

// A page with two peers and a data channel between them: a machine moves from one to the other. `rtc.test.ts` looks at the result.

/** What of WebRTC is used: the tests' types have no page. */
interface Peer {
  onicecandidate: ((event: { readonly candidate: unknown }) => void) | null;
  ondatachannel: ((event: { readonly channel: Channel }) => void) | null;
  createDataChannel(label: string): Channel;
  createOffer(): Promise<unknown>;
  createAnswer(): Promise<unknown>;
  setLocalDescription(description: unknown): Promise<void>;
  setRemoteDescription(description: unknown): Promise<void>;
  addIceCandidate(candidate: unknown): Promise<void>;
}

type Channel = Parameters<typeof channelDuplex>[0] & {
  onopen: (() => void) | null;
  readonly readyState: string;
  close(): void;
};

const { RTCPeerConnection } = globalThis as unknown as { readonly RTCPeerConnection: new () => Peer };

async function connect(): Promise<readonly [Channel, Channel]> {
  const [a, b] = [new RTCPeerConnection(), new RTCPeerConnection()];
  a.onicecandidate = ({ candidate }) => void (candidate && b.addIceCandidate(candidate));
  b.onicecandidate = ({ candidate }) => void (candidate && a.addIceCandidate(candidate));
  const near = a.createDataChannel('migration');
  const far = new Promise<Channel>((resolve) => {
    b.ondatachannel = ({ channel }) => resolve(channel);
  });
  const open = new Promise<void>((resolve) => {
    near.onopen = resolve;
  });
  await a.setLocalDescription(await a.createOffer());
  await b.setRemoteDescription((a as unknown as { localDescription: unknown }).localDescription);
  await b.setLocalDescription(await b.createAnswer());
  await a.setRemoteDescription((b as unknown as { localDescription: unknown }).localDescription);
  await open;
  return [near, await far];
}

async function move(cutAfter: number): Promise<object> {
  const world = new SmallWorld();
  const [source, destination] = [new SmallMachine(world), new SmallMachine(world)];
  source.boot();
  for (let n = 0; n < 20; n++) source.step();
  const [near, far] = await connect();
  const working = setInterval(() => world.running?.step(), 1);
  const from = channelDuplex(near, { window: 8192 });
  let written = 0;
  const [sent, received] = await Promise.all([
    sendLive(
      {
        ...from,
        write: (bytes) => {
          written += bytes.length;
          if (written > cutAfter) far.close();
          return from.write(bytes);
        },
        read: () => from.read(),
        close: () => from.close(),
      },
      source,
      { downtimeLimitMs: 1e6, handOverTimeoutMs: 60_000 },
    ),
    receiveLive(channelDuplex(far, { window: 8192 }), destination),
  ]);
  const runs = world.running;
  const rounds = runs?.rounds ?? 0;
  await new Promise((resolve) => setTimeout(resolve, 100));
  clearInterval(working);
  return {
    sent: sent.result,
    received: received.result,
    where: runs === source ? 'source' : runs === destination ? 'destination' : 'nowhere',
    equal: destination.atResume?.every((byte, at) => byte === source.atPause?.[at]),
    worked: (runs?.rounds ?? 0) > rounds,
    faults: world.faults,
  };
}

Object.assign(globalThis, { move, isReady: true });
