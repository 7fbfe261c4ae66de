// Domains as people write them: without addresses, which libvirt gives.
import fc from 'fast-check';

const onOff = fc.constantFrom('on', 'off');
/** An attribute that is there or not. */
function maybe(name: string, value: fc.Arbitrary<string | number>): fc.Arbitrary<string> {
  return fc.option(value, { nil: undefined }).map((text) => (text === undefined ? '' : ` ${name}='${text}'`));
}

function attributes(...all: readonly fc.Arbitrary<string>[]): fc.Arbitrary<string> {
  return fc.tuple(...all).map((parts) => parts.join(''));
}

/** Of every device; pages for each queue are a matter of PCI. */
const common = ({ ccw }: Board): fc.Arbitrary<string> =>
  ccw ? maybe('packed', onOff) : attributes(maybe('packed', onOff), maybe('page_per_vq', onOff));
const notified = attributes(maybe('ioeventfd', onOff), maybe('event_idx', onOff));
const power = (from: number, to: number): fc.Arbitrary<number> =>
  fc.integer({ min: from, max: to }).map((exponent) => 2 ** exponent);

/** Devices that need nothing of the host, of one machine type. */
interface Board {
  readonly machine: string;
  readonly arch: string;
  readonly ccw: boolean;
}

const boards: readonly Board[] = [
  { machine: 'q35', arch: 'x86_64', ccw: false },
  { machine: 'pc', arch: 'x86_64', ccw: false },
  { machine: 'pc-q35-6.2', arch: 'x86_64', ccw: false },
  { machine: 'pc-i440fx-5.2', arch: 'x86_64', ccw: false },
  { machine: 's390-ccw-virtio', arch: 's390x', ccw: true },
];

function model({ ccw }: Board): fc.Arbitrary<string> {
  return ccw
    ? fc.constant('virtio')
    : fc.constantFrom('virtio', 'virtio', 'virtio-transitional', 'virtio-non-transitional');
}

const disk =
  (board: Board, image: string) =>
  (index: number): fc.Arbitrary<string> =>
    fc
      .record({
        model: model(board),
        driver: attributes(
          common(board),
          notified,
          maybe('queues', fc.integer({ min: 1, max: 8 })),
          maybe('queue_size', power(4, 10)),
          maybe('cache', fc.constantFrom('none', 'writethrough', 'writeback', 'unsafe', 'directsync')),
          maybe('error_policy', fc.constantFrom('stop', 'report', 'ignore', 'enospace')),
          maybe('rerror_policy', fc.constantFrom('stop', 'report', 'ignore')),
          maybe('discard', fc.constantFrom('unmap', 'ignore')),
        ),
        serial: maybe('', fc.constantFrom('abc', 'WD-1234')),
        block: fc.constantFrom('', "<blockio logical_block_size='4096' physical_block_size='4096'/>"),
        geometry: fc.constantFrom('', "<geometry cyls='16383' heads='16' secs='63'/>"),
        more: fc.subarray(['<readonly/>', '<shareable/>', `<serial>vk-${index}</serial>`]),
      })
      .map(
        (d) =>
          `<disk type='file' device='disk' model='${d.model}'><driver name='qemu' type='raw'${d.driver}/><source file='${image}${index}.raw'/>` +
          `<target dev='vd${String.fromCharCode(97 + index)}' bus='virtio'/>${d.block}${d.geometry}${d.more.join('')}</disk>`,
      );

/** Of ROMs without a bar, a machine takes one. */
const card = (board: Board, isFirst: boolean): fc.Arbitrary<string> =>
  fc
    .record({
      type: fc.constantFrom('user', 'ethernet'),
      model: model(board),
      queues: fc.integer({ min: 1, max: 4 }),
      driver: attributes(
        common(board),
        notified,
        maybe('rx_queue_size', power(8, 10)),
        maybe('rss', onOff),
        maybe('rss_hash_report', onOff),
        maybe('txmode', fc.constantFrom('iothread', 'timer')),
      ),
      host: attributes(
        ...['csum', 'gso', 'tso4', 'tso6', 'ecn', 'ufo', 'mrg_rxbuf'].map((name) => maybe(name, onOff)),
      ),
      guest: attributes(...['csum', 'tso4', 'tso6', 'ecn', 'ufo'].map((name) => maybe(name, onOff))),
      rom: board.ccw
        ? fc.constant('')
        : fc.constantFrom('', isFirst ? "<rom bar='off'/>" : '', "<rom enabled='no'/>", "<rom bar='on'/>"),
      mtu: fc.option(fc.integer({ min: 1280, max: 9000 }), { nil: undefined }),
    })
    .map((c) => {
      const queues = c.type === 'ethernet' && c.queues > 1 ? ` queues='${c.queues}'` : '';
      const mtu = c.mtu === undefined || c.type === 'user' ? '' : `<mtu size='${c.mtu}'/>`;
      return (
        `<interface type='${c.type}'><model type='${c.model}'/><driver name='qemu'${queues}${c.driver}>` +
        `<host${c.host}/><guest${c.guest}/></driver>${mtu}${c.rom}</interface>`
      );
    });

const scsi = (board: Board): fc.Arbitrary<string> =>
  fc
    .record({
      model: board.ccw
        ? fc.constant('virtio-scsi')
        : fc.constantFrom('virtio-scsi', 'virtio-transitional', 'virtio-non-transitional'),
      driver: attributes(
        common(board),
        maybe('ioeventfd', onOff),
        maybe('queues', fc.integer({ min: 1, max: 8 })),
        maybe('cmd_per_lun', fc.integer({ min: 1, max: 128 })),
        maybe('max_sectors', power(4, 12)),
      ),
    })
    .map(
      ({ model: type, driver }) => `<controller type='scsi' model='${type}'><driver${driver}/></controller>`,
    );

const serial = attributes(maybe('ports', fc.integer({ min: 2, max: 31 }))).map(
  (ports) =>
    `<controller type='virtio-serial' index='0'${ports}/><channel type='null'><target type='virtio' name='org.vk.0'/></channel>`,
);

const balloon = (board: Board): fc.Arbitrary<string> =>
  fc
    .tuple(
      fc.oneof(fc.constant('none'), model(board)),
      maybe('autodeflate', onOff),
      maybe('freePageReporting', onOff),
      common(board),
    )
    .map(([type, deflate, reporting, driver]) =>
      type === 'none'
        ? "<memballoon model='none'/>"
        : `<memballoon model='${type}'${deflate}${reporting}><driver${driver}/></memballoon>`,
    );

const rng = (board: Board): fc.Arbitrary<string> =>
  fc
    .tuple(
      model(board),
      common(board),
      fc.constantFrom('', "<rate bytes='1024' period='2000'/>", "<rate bytes='77'/>"),
    )
    .map(
      ([type, driver, rate]) =>
        `<rng model='${type}'><driver${driver}/>${rate}<backend model='random'>/dev/urandom</backend></rng>`,
    );

const input = (board: Board): fc.Arbitrary<string> =>
  fc
    .tuple(fc.constantFrom('mouse', 'tablet', 'keyboard'), common(board))
    .map(([type, driver]) => `<input type='${type}' bus='virtio'><driver${driver}/></input>`);

const video = ({ ccw }: Board): fc.Arbitrary<string> =>
  fc
    .tuple(
      ccw ? fc.constant('virtio') : fc.constantFrom('virtio', 'vga', 'qxl', 'bochs', 'cirrus'),
      fc.integer({ min: 1, max: 4 }),
      fc.boolean(),
    )
    .map(([type, heads, second]) => {
      const first = `<video><model type='${type}'${type === 'virtio' ? ` heads='${heads}'` : ''}/></video>`;
      return second ? `${first}<video><model type='virtio'/></video>` : first;
    });

function some<T>(of: fc.Arbitrary<T>, most: number): fc.Arbitrary<T[]> {
  return fc.array(of, { maxLength: most });
}

/** A domain of this name; its disks are files whose names begin with `image`, from `0.raw` to `3.raw`. */
export function randomDomain(name: string, image: string): fc.Arbitrary<string> {
  return fc.constantFrom(...boards).chain((board) => {
    const diskOf = disk(board, image);
    return fc
      .record({
        memory: fc.integer({ min: 64, max: 200 }),
        cpus: fc.integer({ min: 1, max: 4 }),
        disks: fc
          .integer({ min: 0, max: 4 })
          .chain((count) => fc.tuple(...Array.from({ length: count }, (_, n) => diskOf(n)))),
        cards: fc.tuple(some(card(board, true), 1), some(card(board, false), 2)).map((cards) => cards.flat()),
        scsi: some(scsi(board), 2),
        serial: fc.oneof(fc.constant(''), serial),
        balloon: balloon(board),
        rngs: some(rng(board), 2),
        inputs: some(input(board), 2),
        videos: fc.oneof(fc.constant(''), video(board)),
        acpi: fc.boolean(),
        numa: fc.boolean(),
      })
      .map(
        (d) =>
          `<domain type='qemu'><name>${name}</name><memory unit='MiB'>${d.memory}</memory><vcpu>${d.cpus}</vcpu>` +
          `<os><type arch='${board.arch}' machine='${board.machine}'>hvm</type></os>` +
          `<features>${board.ccw || !d.acpi ? '' : '<acpi/>'}</features>` +
          (d.numa && !board.ccw
            ? `<cpu><numa><cell id='0' cpus='0-${d.cpus - 1}' memory='${d.memory}' unit='MiB'/></numa></cpu>`
            : '') +
          `<devices>${[...d.disks, ...d.cards, ...d.scsi, d.serial, d.balloon, ...d.rngs, ...d.inputs, d.videos].join('')}</devices></domain>`,
      );
  });
}
