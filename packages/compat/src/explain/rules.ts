import type { DeviceType, MessageRule } from '@virtkit/core/qemu';
import { featureMessages } from './feature-messages.ts';
import { ringMessages } from './ring-messages.ts';
import { stateMessages } from './state-messages.ts';
import { streamMessages } from './stream-messages.ts';

/** All kinds of messages with the device types' own, the more special ones first. */
export function rulesWith(types: readonly DeviceType[]): readonly MessageRule[] {
  return [
    ...featureMessages(types),
    ...types.flatMap(({ messages }) => messages ?? []),
    ...ringMessages,
    ...stateMessages(types),
    ...streamMessages,
  ];
}
