// Linux in v86 and Linux in a real QEMU on one Ethernet: our card on one end, QEMU's on the other. The guest in v86 leaves checksums and
// segments to our card, and QEMU's has neither: what arrives there was made in software, and the Linux there looks at it.
import { createHash, randomBytes } from 'node:crypto';
import { NetDevice } from '@virtkit/device-net';
import { StreamBackend } from '@virtkit/device-net/node';
import { findLab, NetGuest } from '@virtkit/lab';
import { attach } from '@virtkit/v86';
import { describe, expect, test } from 'vitest';
import { CARD_SLOT, configure, linux, noGuest, scan, TIMEOUT_MS } from './world.ts';

const lab = findLab('x86_64', process.env['VIRTKIT_QEMU_ROOT']);
if (!lab.ok) console.warn(`SKIPPED: v86 and QEMU on one network: ${lab.reason}`);

const PORT = 7000;

describe.skipIf(noGuest || !lab.ok)('v86 and QEMU', { timeout: TIMEOUT_MS }, () => {
  test('ping, and send each other files that arrive whole', async () => {
    if (!lab.ok) return;
    const backend = await StreamBackend.listen({ port: 0 });
    const netdev = `stream,server=off,addr.type=inet,addr.host=127.0.0.1,addr.port=${backend.address?.port}`;
    const data = new Uint8Array(randomBytes(500_000));
    const sum = createHash('md5').update(data).digest('hex');
    const qemu = await NetGuest.boot({ lab, host: 2, cards: [{ net: 0, netdev }], files: { data } });
    try {
      const guest = await linux();
      const net = new NetDevice({ backend, mac: '52:54:00:00:00:86' });
      attach(guest.emulator, net, { slot: CARD_SLOT, onEvent: (event) => guest.events.push(event) });
      await scan(guest);
      await configure(guest, 1);
      await qemu.ready();
      const { shell } = guest;
      expect(await shell.run('ping -c 3 -i 0.1 -W 10 10.0.0.2')).toContain('3 packets received');
      expect(await qemu.run('ping -c 3 -i 0.1 -W 10 10.0.0.1')).toContain('3 packets received');

      // from QEMU to v86, and back, in the large packets of a sendfile()
      const here = shell.start(`nc -l -p ${PORT} > /tmp/data; md5sum < /tmp/data`);
      await qemu.run(`while ! nc 10.0.0.1 ${PORT} < /data; do usleep 50000; done 2>/dev/null`);
      expect(await here.done).toEqual({ status: 0, output: `${sum}  -` });
      await shell.run('httpd -p 80 -h /tmp');
      expect(await qemu.run('wget -q -O - http://10.0.0.1/data | md5sum')).toContain(sum);

      expect(backend.offload.segments).toBeGreaterThan(150);
      expect(backend.offload).toMatchObject({ malformed: 0, unsupported: 0 });
      expect(backend.counters).toMatchObject({ txDropped: 0, rxDropped: 0, rxMalformed: 0 });
      expect(await qemu.wrongPackets()).toEqual([]);
      expect(guest.events).toEqual([]);
    } finally {
      await qemu.vm.close();
      await backend.close();
    }
  });
});
