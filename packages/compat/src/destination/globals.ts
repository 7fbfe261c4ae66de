import type { Unplaced } from './place.ts';
import { lineageOf } from './qemu-types.ts';

/**
 * Collects the properties of a device: those that `-global` gives to one of its types, in their order, then its own. A
 * proxy has the virtio device inside, which is made first: what is global to the proxy overrides what is global to the
 * device. QEMU: `device_post_init`
 */
export function propertiesOf(
  { driver, properties }: Unplaced,
  globals: readonly (readonly [driver: string, property: string, value: string])[],
): ReadonlyMap<string, string> {
  const { device, proxy } = lineageOf(driver);
  const all = new Map<string, string>();
  for (const types of [device, proxy])
    for (const [type, property, value] of globals) if (types.includes(type)) all.set(property, value);
  for (const [property, value] of properties) all.set(property, value);
  return all;
}
