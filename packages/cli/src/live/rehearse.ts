// The guest stands still while its devices are read. What a program does for the first time takes it ten times as long, so it is
// done before: with a stream of devices that no guest has seen.
import { codecOf, MappedMemory } from '@virtkit/core';
import { acceptVirtio, RAM, StreamParser, StreamWriter } from '@virtkit/migration';
import { PciFunction } from '@virtkit/transport-pci';
import { checkDevices } from '../device.ts';
import { registry } from '../registry.ts';
import { DeviceState } from './proxy.ts';

const TURNS = 6;
const PAGE = 4096;
const PAGES = 4096;
/** Number of fields of the made stream: as many as the other devices of a PC have. */
const FIELDS = 1500;
const CHUNK = 16384;

/** Reads and checks a stream a few times. Takes about 100 ms. */
export function rehearse(): void {
  const stream = sample();
  for (let turn = 0; turn < TURNS; turn++) {
    const sink = new DeviceState();
    const parser = new StreamParser(sink, { accepts: acceptVirtio(registry) });
    for (let at = 0; at < stream.length; at += CHUNK) parser.push(stream.subarray(at, at + CHUNK));
    parser.end();
    checkDevices(sink.partial());
  }
}

function sample(): Uint8Array {
  const chunks: Uint8Array[] = [];
  const out = new StreamWriter((bytes, start, end) => chunks.push(bytes.slice(start, end)));
  out.header(3);
  out.configuration({ name: 'pc-i440fx-7.2' });
  writeRam(out);
  const devices = bodies().map(({ name, version, body }, index) => {
    const idstr = `0000:00:0${2 + index}.0/${name}`;
    const header = {
      kind: 'full',
      id: 2 + index,
      idstr,
      instanceId: 0,
      versionId: version,
      offset: 0,
    } as const;
    out.section(header);
    out.body(body);
    out.footer(header.id);
    const fields = [{ name: 'virtio', type: 'virtio', size: body.length }];
    return { name: idstr, instance_id: 0, vmsd_name: name, version, fields };
  });
  out.eof();
  const other = Array.from({ length: FIELDS }, (_, n) => ({ name: `field${n}`, type: 'uint32', size: 4 }));
  const rest = { name: 'other', instance_id: 0, vmsd_name: 'other', version: 1, fields: other };
  out.vmdesc(Buffer.from(JSON.stringify({ page_size: PAGE, devices: [...devices, rest] })));
  return Buffer.concat(chunks);
}

/** Writes RAM that is mostly zeros, as in a guest that has just begun. */
function writeRam(out: StreamWriter): void {
  const ram = { id: 1, idstr: 'ram', instanceId: 0, versionId: 4, offset: 0 };
  out.section({ ...ram, kind: 'start' });
  out.ramSize(BigInt(PAGES * PAGE));
  out.ramBlock({ name: 'pc.ram', length: PAGES * PAGE });
  out.ramMark(RAM.EOS, 0);
  out.footer(ram.id);
  out.section({ ...ram, kind: 'end' });
  const page = new Uint8Array(PAGE);
  for (let n = 0; n < PAGES; n++) {
    const whole = n % 16 === 0;
    out.ramPage((whole ? RAM.PAGE : RAM.ZERO) | (n === 0 ? 0 : RAM.CONTINUE), n * PAGE, 0);
    out.ramData(page, 0, whole ? PAGE : 1);
  }
  out.ramMark(RAM.EOS, 0);
  out.footer(ram.id);
}

function bodies(): { name: string; version: number; body: Uint8Array }[] {
  const around = { memory: new MappedMemory([]), setIntx: () => {}, sendMsi: () => {} };
  const functions = registry.types.flatMap(({ live }) =>
    live === undefined ? [] : [new PciFunction(live.make(live.unconnected()), around)],
  );
  return functions.map(({ device }) => {
    const codec = codecOf(device);
    return { name: codec.device.name, version: codec.device.version, body: codec.encode(device.capture()) };
  });
}
