import type { StreamSection } from '@virtkit/migration';
import { type Examined, inspectionOf } from '@virtkit/migration/inspect';
import { matches } from './device.ts';
import type { InspectOptions } from './inspect-options.ts';
import type { Read } from './read.ts';
import { registry } from './registry.ts';

/** Writes the documented JSON form: `schema/inspect.schema.json`. */
export function jsonText(
  read: Read,
  devices: readonly Examined[],
  { hex, device, path }: InspectOptions,
): string {
  const json = inspectionOf(read, {
    registry,
    devices,
    section: (section: StreamSection) => matches(section, device),
    otherFields: hex === true || device !== undefined,
    deviceFields: hex === true || path !== undefined,
    path,
  });
  return `${JSON.stringify(json, null, 2)}\n`;
}
