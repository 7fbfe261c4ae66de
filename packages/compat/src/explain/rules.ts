import type { DeviceType, MessageRule } from '@virtkit/core/qemu';
import { blockFamilies } from './families/block.ts';
import { channelFamilies } from './families/channel.ts';
import { crashFamilies } from './families/crash.ts';
import { hostFamilies } from './families/host.ts';
import { kubevirtFamilies } from './families/kubevirt.ts';
import { libvirtFamilies } from './families/libvirt.ts';
import { managerFamilies } from './families/managers.ts';
import { ramFamilies } from './families/ram.ts';
import { setupFamilies } from './families/setup.ts';
import { startFamilies } from './families/start.ts';
import { vhostFamilies } from './families/vhost.ts';
import { rulesOf } from './family.ts';
import { featureMessages } from './feature-messages.ts';
import { ringMessages } from './ring-messages.ts';
import { stateMessages } from './state-messages.ts';
import { streamMessages } from './stream-messages.ts';

/** Families of messages, those that tell a cause before those that only say that it failed. */
const families: readonly MessageRule[] = /* @__PURE__ */ rulesOf([
  ...crashFamilies,
  ...startFamilies,
  ...hostFamilies,
  ...setupFamilies,
  ...ramFamilies,
  ...blockFamilies,
  ...vhostFamilies,
  ...channelFamilies,
  ...libvirtFamilies,
  ...managerFamilies,
  ...kubevirtFamilies,
]);

/** Lists all kinds of messages with the device types' own, the more special ones first. */
export function rulesWith(types: readonly DeviceType[]): readonly MessageRule[] {
  return [
    ...featureMessages(types),
    ...types.flatMap(({ messages }) => messages ?? []),
    ...ringMessages,
    ...stateMessages(types),
    ...streamMessages,
    ...families,
  ];
}
