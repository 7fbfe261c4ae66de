import { compareVersion, type MachineOfQemu, type Rewritten, refusal } from '@virtkit/core/qemu';
import type { NetState } from '../state.ts';

/** Mask of all hash types, which the field stands for when it is not sent. */
const ALL_HASH_TYPES = 0x1ff;
/** Version of QEMU with which version 2 of the RSS state came. */
const VERSION_2_SINCE = '10.2';

/** Writes the RSS state in the version that the target reads: version 2 adds the hash types that the source supports. */
export function rssVersion(
  title: string,
  device: NetState,
  { qemu }: MachineOfQemu,
): Rewritten<NetState> | undefined {
  const { rss } = device;
  const known = compareVersion(qemu.name, VERSION_2_SINCE) >= 0 ? 2 : 1;
  if (rss === undefined || rss.version <= known) return undefined;
  const { supportedHashTypes = ALL_HASH_TYPES, ...others } = rss;
  const possible = supportedHashTypes === ALL_HASH_TYPES;
  return {
    device: possible ? { ...device, rss: { ...others, version: known } } : device,
    verdict: refusal(
      'rss-version',
      `${title} / device.rss.version`,
      `version ${rss.version}, and QEMU ${qemu.name} reads up to ${known}${possible ? '' : `; the hash types that the source supports (0x${supportedHashTypes.toString(16)}) have no place in it`}`,
      {
        qemuSays: 'virtio-net-device/rss: incoming version_id 2 is too new for local version_id 1',
        feature: 'VIRTIO_NET_F_RSS',
        property: 'rss',
        spec: 'Virtio 1.3 §5.1.6.5.7',
        convertible: possible,
      },
    ),
  };
}
