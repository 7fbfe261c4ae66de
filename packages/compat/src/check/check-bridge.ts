import { numberOf, refusal, switchOf, type Verdict } from '@virtkit/core/qemu';
import { type StreamSection, splitIdstr } from '@virtkit/migration';
import { capabilities } from '@virtkit/transport-pci';
import { hex } from '@virtkit/vmstate';
import type { Destination } from '../destination/destination.ts';

/** Length in bytes of the version of `PCIDevice`, which stands in front of configuration space in a section. */
const VERSION_BYTES = 4;
const CONFIG_BYTES = 256;
const HEADER_TYPE = 0x0e;
const MULTIFUNCTION = 0x80;
const EXPRESS = 0x10;
const HOT_PLUG = 0x0c;
/** Offsets in the PCI Express capability. PCIe 2.1 §7.8 */
const [LINK, SLOT] = [0x0c, 0x14];
const HOT_PLUG_CAPABLE = 0x40;

/** Property that is in the configuration space of a port or a bridge. */
interface Compared {
  readonly property: string;
  readonly here: number;
  readonly there: number;
  /** Offset of the byte in configuration space. */
  readonly at: number;
}

/** Verdicts over a PCI port or bridge. They are no virtio devices, but where one does not load, nothing does. */
export function checkBridge({ header: { idstr }, body }: StreamSection, { devices }: Destination): Verdict[] {
  const { path, name } = splitIdstr(idstr);
  if (name !== 'pcie-root-port' && name !== 'pci_bridge') return [];
  const device = devices.find(
    ({ place, driver }) => place === path && /^(pcie-root-port|pci-bridge)$/.test(driver),
  );
  if (device === undefined) return [];
  const config = body.subarray(VERSION_BYTES);
  if (config.length < CONFIG_BYTES) return [];
  const said = (property: string): string | undefined => device.properties.get(property);
  const multifunction = switchOf(said('multifunction')) === true ? MULTIFUNCTION : 0;
  const compared: Compared[] = [
    {
      property: 'multifunction',
      here: (config[HEADER_TYPE] ?? 0) & MULTIFUNCTION,
      there: multifunction,
      at: HEADER_TYPE,
    },
    ...(name === 'pcie-root-port' ? portWords(config, said) : shpcWords(config, said)),
  ];
  return compared
    .filter(({ here, there }) => here !== there)
    .map(({ property, here, there, at }) =>
      refusal(
        'config-space',
        `${idstr} / config[${hex(at)}]`,
        `${property} of the ${device.driver} is ${here} in the stream, and ${there} at the target`,
        {
          qemuSays: `get_pci_config_device: Bad config data: i=${hex(at)} read:`,
          property,
          advice: `give the target's ${device.driver} the same ${property} as at the source`,
        },
      ),
    );
}

function portWords(config: Uint8Array, said: (property: string) => string | undefined): Compared[] {
  const capability = capabilities(config.subarray(0, CONFIG_BYTES)).find(({ id }) => id === EXPRESS);
  if (capability === undefined || capability.at + SLOT + 4 > config.length) return [];
  const { at } = capability;
  const view = new DataView(config.buffer, config.byteOffset, config.byteLength);
  const slot = view.getUint32(at + SLOT, true);
  return [
    {
      property: 'port',
      here: config[at + LINK + 3] ?? 0,
      there: (numberOf(said('port')) ?? 0) & 0xff,
      at: at + LINK + 3,
    },
    { property: 'slot', here: slot >>> 19, there: numberOf(said('slot')) ?? 0, at: at + SLOT + 2 },
    {
      property: 'hotplug',
      here: slot & HOT_PLUG_CAPABLE,
      there: switchOf(said('hotplug')) === false ? 0 : HOT_PLUG_CAPABLE,
      at: at + SLOT,
    },
  ];
}

/** Compares the controller for hot-plugging of a bridge, where the command line says whether there is one. */
function shpcWords(config: Uint8Array, said: (property: string) => string | undefined): Compared[] {
  const there = switchOf(said('shpc'));
  if (there === undefined) return [];
  const found = capabilities(config.subarray(0, CONFIG_BYTES)).some(({ id }) => id === HOT_PLUG);
  return [{ property: 'shpc', here: found ? 1 : 0, there: there ? 1 : 0, at: 0x34 }];
}
