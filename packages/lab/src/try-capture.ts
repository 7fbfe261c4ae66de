/** `tsx src/try-capture.ts [x86_64|s390x] [machine] [blk properties] [net properties]`: one capture, told in a few lines. */
import { writeFileSync } from 'node:fs';
import { captureRunningGuest, findLab } from './capture/running-guest.ts';

const [arch = 'x86_64', machine, blk, net] = process.argv.slice(2);
if (arch !== 'x86_64' && arch !== 's390x') throw new Error(`no guest for ${arch}`);
const lab = findLab(arch);
if (!lab.ok) {
  console.log(`cannot run: ${lab.reason}`);
  process.exit(1);
}
console.log(`QEMU ${lab.binary.version} (${lab.binary.package}), kernel ${lab.kit.kernelRelease}`);
const started = Date.now();
const { stream, truth, info } = await captureRunningGuest({ arch, machine, blk, net, binary: lab.binary });
console.log(`${info.machine}: ${stream.length} bytes after ${Date.now() - started} ms`);
for (const device of truth.virtio) {
  console.log(`  ${device.path} ${device.name} ${device.status?.started === true ? 'started' : ''}`);
  for (const queue of device.queues) {
    console.log(
      `    ${queue['queue-index']}: num ${queue['vring-num']} last-avail ${queue['last-avail-idx']} used ${queue['used-idx']} inuse ${queue.inuse}`,
    );
  }
}
const out = process.env['VIRTKIT_LAB_OUT'];
if (out !== undefined) {
  writeFileSync(`${out}.mig`, stream);
  writeFileSync(`${out}.json`, JSON.stringify(info, null, 1));
}
