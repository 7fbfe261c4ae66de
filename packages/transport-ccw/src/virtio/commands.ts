import { type Gpa, QUEUE_MAX, type QueueRegisters, type TransportHost } from '@virtkit/core/live';
import { ISC_MAX } from '../channel/bits.ts';
import type { CommandEnding } from '../channel/control-unit.ts';
import type { DataStream } from '../channel/data-stream.ts';
import { checksLength } from '../channel/program.ts';
import type { Ccw } from '../channel/structures.ts';
import { CLASSIC_QUEUES, CONFIG_VECTOR, type Indicators, NO_VECTOR } from './indicators.ts';
import type { VirtioProxy } from './proxy.ts';

/** Codes of virtio's channel commands. Virtio 1.3 §4.3.1.1 */
export const VIRTIO_COMMAND = {
  WRITE_FEAT: 0x11,
  READ_FEAT: 0x12,
  SET_VQ: 0x13,
  WRITE_CONF: 0x21,
  READ_CONF: 0x22,
  WRITE_STATUS: 0x31,
  READ_VQ_CONF: 0x32,
  VDEV_RESET: 0x33,
  SET_IND: 0x43,
  SET_CONF_IND: 0x53,
  READ_STATUS: 0x72,
  SET_IND_ADAPTER: 0x73,
  SET_VIRTIO_REV: 0x83,
} as const;

/** Command whose data has a fixed length. */
interface FixedCommand {
  length(proxy: VirtioProxy): number;
  /** Is the command rejected before the data is looked at? */
  rejected?(proxy: VirtioProxy): boolean;
  /** Residual count where it is not the number of bytes that the command was too long by: QEMU says 0 after SET_VQ. */
  readonly residual?: 0;
  /** Executes the command; `data` is at its first byte. */
  run(proxy: VirtioProxy, data: DataStream, ccw: Ccw): CommandEnding;
}

/**
 * Offsets in the data of SET_VQ, and its length with and without a revision, in bytes: `struct vq_info_block` and
 * `vq_info_block_legacy`, which has an alignment in place of reserved bytes. Virtio 1.3 §4.3.2.2
 */
const VQ_INFO = { ALIGN: 8, INDEX: 12, NUM: 14, AVAIL: 16, USED: 24, BYTES: 32, LEGACY_BYTES: 16 } as const;

/** Offsets in the data of SET_IND_ADAPTER, and its length, in bytes: `struct virtio_thinint_area`. Virtio 1.3 §4.3.2.6.3 */
const ADAPTER_AREA = { SUMMARY: 0, INDICATORS: 8, BIT: 16, ISC: 24, BYTES: 25 } as const;

/** Ring alignment of legacy drivers, in bytes. */
const LEGACY_ALIGN = 4096;
const LOW = 0xffffffffn;

/** Executes a virtio command. QEMU: `virtio_ccw_cb`. */
export function executeVirtio(proxy: VirtioProxy, ccw: Ccw, data: DataStream): CommandEnding {
  if (proxy.revision < 0 && ccw.cmdCode !== VIRTIO_COMMAND.SET_VIRTIO_REV) {
    // Virtio 1.3 §4.3.2.1.3 MUST: a device for modern drivers only rejects a driver that has not set a revision
    if (proxy.modernOnly) return 'command-reject';
    // Virtio 1.3 §4.3.2.1.3 MUST: a transitional device goes on as if the driver had selected revision 0
    proxy.revision = 0;
  }
  const fixed = FIXED.get(ccw.cmdCode);
  if (fixed !== undefined) return runFixed(proxy, fixed, ccw, data);
  switch (ccw.cmdCode) {
    case VIRTIO_COMMAND.SET_VIRTIO_REV:
      return setRevision(proxy, ccw, data);
    case VIRTIO_COMMAND.VDEV_RESET:
      // Virtio 1.3 §4.3.3.3.1 MUST: the reset is over, and the status 0, when the command ends
      // Virtio 1.3 §4.3.3.3.1 MUST NOT: no notification after it: indicators are forgotten
      proxy.resetVirtio();
      return 'done';
    case VIRTIO_COMMAND.READ_CONF:
      return readConfig(proxy, ccw, data);
    case VIRTIO_COMMAND.WRITE_CONF:
      return writeConfig(proxy, ccw, data);
    default:
      // Virtio 1.3 §4.3.1.3 MUST: unit check with command reject for any command that is not supported
      return 'command-reject';
  }
}

function runFixed(proxy: VirtioProxy, command: FixedCommand, ccw: Ccw, data: DataStream): CommandEnding {
  const length = command.length(proxy);
  // Virtio 1.3 §4.3.1.3 MUST: a status that says so, if the length is checked and another, or too short to be used
  if (checksLength(ccw) ? ccw.count !== length : ccw.count < length) return 'program-check';
  if (command.rejected?.(proxy) === true) return 'command-reject';
  if (ccw.cda === 0) return 'program-check';
  const ending = command.run(proxy, data, ccw);
  if (ending === 'done') proxy.subchannel.scsw.count = command.residual ?? ccw.count - length;
  return ending;
}

const FIXED: ReadonlyMap<number, FixedCommand> = new Map<number, FixedCommand>([
  [VIRTIO_COMMAND.SET_VQ, { length: ({ revision }) => (revision < 1 ? 16 : 32), residual: 0, run: setQueue }],
  [VIRTIO_COMMAND.READ_FEAT, { length: () => 5, run: readFeatures }],
  [VIRTIO_COMMAND.WRITE_FEAT, { length: () => 5, run: writeFeatures }],
  [VIRTIO_COMMAND.READ_STATUS, { length: () => 1, run: readStatus }],
  [VIRTIO_COMMAND.WRITE_STATUS, { length: () => 1, run: writeStatus }],
  [VIRTIO_COMMAND.READ_VQ_CONF, { length: () => 4, run: readQueueConfig }],
  [
    VIRTIO_COMMAND.SET_IND,
    {
      length: () => 8,
      // Virtio 1.3 §4.3.2.6.1 MUST: command reject, if indicators for adapter interrupts are set
      rejected: ({ subchannel, host }) => subchannel.thinintActive || queuesInARow(host) > CLASSIC_QUEUES,
      run: ({ indicators }, data) => withU64(data, (address) => indicators.setClassic(address)),
    },
  ],
  [
    VIRTIO_COMMAND.SET_CONF_IND,
    {
      length: () => 8,
      run: ({ indicators }, data) => withU64(data, (address) => indicators.setConfig(address)),
    },
  ],
  [VIRTIO_COMMAND.SET_IND_ADAPTER, { length: () => ADAPTER_AREA.BYTES, run: setAdapterIndicators }],
]);

/** Counts the queues before the first that does not exist. QEMU: `virtio_get_num_queues`. */
function queuesInARow(host: TransportHost): number {
  let count = 0;
  while ((host.queue(count)?.size ?? 0) > 0) count++;
  return count;
}

/** Takes the next bytes of the data, or undefined where there are none. */
function take(data: DataStream, length: number): DataView | undefined {
  const bytes = new Uint8Array(length);
  return data.read(bytes) ? new DataView(bytes.buffer) : undefined;
}

function withU64(data: DataStream, use: (value: bigint) => void): CommandEnding {
  const view = take(data, 8);
  if (view === undefined) return 'program-check';
  use(view.getBigUint64(0));
  return 'done';
}

function setRevision(proxy: VirtioProxy, ccw: Ccw, data: DataStream): CommandEnding {
  if (ccw.count < 4 || ccw.cda === 0) return 'program-check';
  const view = take(data, 4);
  if (view === undefined) return 'program-check';
  const revision = view.getUint16(0);
  const length = 4 + view.getUint16(2);
  if (ccw.count < length || (checksLength(ccw) && ccw.count > length)) return 'program-check';
  // Virtio 1.3 §4.3.2.1.1 MUST: command reject for what is not supported, 0 without a legacy interface, and a second one
  const refused = proxy.revision >= 0 || revision > proxy.maxRevision || (proxy.modernOnly && revision === 0);
  if (refused) return 'command-reject';
  proxy.revision = revision;
  return 'done';
}

function setQueue(proxy: VirtioProxy, data: DataStream): CommandEnding {
  const legacy = proxy.revision < 1;
  const view = take(data, legacy ? VQ_INFO.LEGACY_BYTES : VQ_INFO.BYTES);
  if (view === undefined) return 'program-check';
  proxy.subchannel.scsw.count = 0;
  return legacy ? placeLegacyQueue(proxy, view) : placeQueue(proxy, view);
}

function placeLegacyQueue({ host, indicators }: VirtioProxy, view: DataView): CommandEnding {
  const desc = view.getBigUint64(0);
  const queue = host.queue(view.getUint16(VQ_INFO.INDEX));
  if (queue === undefined) return 'program-check';
  if (desc !== 0n && view.getUint32(VQ_INFO.ALIGN) !== LEGACY_ALIGN) return 'program-check';
  queue.setAddress(desc);
  // a legacy driver cannot make a ring smaller
  if (desc !== 0n && queue.size > view.getUint16(VQ_INFO.NUM)) return 'program-check';
  setVector(indicators, queue, desc);
  return 'done';
}

function placeQueue({ host, indicators }: VirtioProxy, view: DataView): CommandEnding {
  const desc = view.getBigUint64(0);
  // Virtio 1.3 §4.3.2.2.1 MUST: res0, bytes 8 to 11, is ignored
  const queue = host.queue(view.getUint16(VQ_INFO.INDEX));
  const num = view.getUint16(VQ_INFO.NUM);
  if (queue === undefined) return 'program-check';
  queue.setAddresses(desc, view.getBigUint64(VQ_INFO.AVAIL), view.getBigUint64(VQ_INFO.USED));
  if (desc !== 0n) {
    if (num > queue.defaultSize) return 'program-check';
    queue.setSize(num);
  }
  setVector(indicators, queue, desc);
  return 'done';
}

function setVector(indicators: Indicators, { index }: QueueRegisters, address: bigint): void {
  indicators.vectors[index] = address === 0n ? NO_VECTOR : index;
  indicators.configVector = CONFIG_VECTOR;
}

function readFeatures({ host, revision }: VirtioProxy, data: DataStream): CommandEnding {
  if (!data.advance(4)) return 'program-check';
  const selector = take(data, 1);
  if (selector === undefined) return 'program-check';
  const index = selector.getUint8(0);
  const legacy = revision < 1;
  let features = 0n;
  if (index === 0) features = host.offeredFeatures(legacy) & LOW;
  if (index === 1 && !legacy) features = (host.offeredFeatures(legacy) >> 32n) & LOW;
  const answer = new Uint8Array(4);
  new DataView(answer.buffer).setUint32(0, Number(features), true);
  data.rewind();
  return data.write(answer) ? 'done' : 'program-check';
}

function writeFeatures({ host, revision }: VirtioProxy, data: DataStream): CommandEnding {
  const view = take(data, 5);
  if (view === undefined) return 'program-check';
  const half = BigInt(view.getUint32(0, true));
  const index = view.getUint8(4);
  const taken = host.driverFeatures;
  if (index === 0) host.setDriverFeatures((taken & ~LOW) | half);
  if (index === 1 && revision >= 1) host.setDriverFeatures((taken & ~(LOW << 32n)) | (half << 32n));
  return 'done';
}

function readStatus({ host, subchannel }: VirtioProxy, _data: DataStream, ccw: Ccw): CommandEnding {
  // Virtio 1.3 §4.3.2.3.2 MUST: the current status. As QEMU: to the data address itself, indirect or not
  subchannel.memory.writeU8(ccw.cda as Gpa, host.status);
  return 'done';
}

function writeStatus(proxy: VirtioProxy, data: DataStream): CommandEnding {
  const view = take(data, 1);
  if (view === undefined) return 'program-check';
  // Virtio 1.3 §4.3.2.3.2 MUST: a status that cannot be set is left unchanged, and the command is rejected
  if (!proxy.host.setStatus(view.getUint8(0))) return 'command-reject';
  if (proxy.host.status === 0) proxy.resetVirtio();
  return 'done';
}

function readQueueConfig({ host }: VirtioProxy, data: DataStream): CommandEnding {
  const queue = host.queue(take(data, 2)?.getUint16(0) ?? QUEUE_MAX);
  if (queue === undefined) return 'program-check';
  const answer = new Uint8Array(2);
  new DataView(answer.buffer).setUint16(0, queue.size);
  return data.write(answer) ? 'done' : 'program-check';
}

function setAdapterIndicators({ indicators, subchannel }: VirtioProxy, data: DataStream): CommandEnding {
  // Virtio 1.3 §4.3.2.6.3.1 MUST: command reject, if classic indicators are set
  if (indicators.queuesSet && !subchannel.thinintActive) return 'command-reject';
  const view = take(data, ADAPTER_AREA.BYTES);
  if (view === undefined) return 'program-check';
  const isc = view.getUint8(ADAPTER_AREA.ISC);
  if (isc > ISC_MAX) return 'command-reject';
  const area = {
    summary: view.getBigUint64(ADAPTER_AREA.SUMMARY),
    indicators: view.getBigUint64(ADAPTER_AREA.INDICATORS),
    bit: view.getBigUint64(ADAPTER_AREA.BIT),
    isc,
  };
  return indicators.setAdapter(area) ? 'done' : 'command-reject';
}

function readConfig({ host, subchannel }: VirtioProxy, ccw: Ccw, data: DataStream): CommandEnding {
  const { config } = host;
  if ((checksLength(ccw) && ccw.count > config.length) || ccw.cda === 0) return 'program-check';
  const length = Math.min(ccw.count, config.length);
  subchannel.memory.sync();
  if (data.write(config.readAll(), length)) return 'done';
  // QEMU up to 10.2 says how much is left only when nothing was stored
  subchannel.scsw.count = ccw.count - length;
  return 'program-check';
}

function writeConfig({ host, subchannel }: VirtioProxy, ccw: Ccw, data: DataStream): CommandEnding {
  const { config } = host;
  if ((checksLength(ccw) && ccw.count > config.length) || ccw.cda === 0) return 'program-check';
  const length = Math.min(ccw.count, config.length);
  const bytes = new Uint8Array(length);
  if (!data.read(bytes)) return 'program-check';
  config.writeAll(bytes);
  subchannel.scsw.count = ccw.count - length;
  return 'done';
}
