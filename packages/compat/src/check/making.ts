import type { Endian } from '@virtkit/core';
import type { DeviceType, Making, QemuDevice } from '@virtkit/core/qemu';
import { splitIdstr, type VirtioDevice } from '@virtkit/migration';
import { busOf, sectionName } from '../destination/qemu-types.ts';
import { type MachineThere, propertiesFor } from '../distributions/machine-there.ts';
import type { Override, Target } from '../target.ts';

/**
 * Finds how the target makes the device that a section is loaded into; undefined: nothing is said of it, so that it is
 * as at the source.
 */
export function makingOf(
  device: VirtioDevice,
  target: Target,
  machine: MachineThere,
  type: DeviceType | undefined,
  endian: Endian,
): Making | undefined {
  const { path, name } = splitIdstr(device.section.header.idstr);
  const { destination, overrides = [], properties, qemu } = target;
  const there = destination?.devices.find(({ place }) => place === path);
  const fitting = overrides.filter((override) => fits(override, name, path, there));
  const byMachine = propertiesFor(type, machine.properties);
  if (there === undefined && fitting.length === 0 && properties.size === 0 && byMachine.size === 0)
    return undefined;
  const transport = device.codec.transport.name;
  const driver =
    there?.driver ?? fitting[0]?.driver ?? `${name}-${transport === 'mmio' ? 'device' : transport}`;
  const all = new Map([...byMachine, ...(there?.properties ?? [])]);
  for (const [property, value] of properties) all.set(property, value);
  for (const override of fitting)
    for (const [property, value] of override.properties) all.set(property, value);
  const made: QemuDevice = { ...there, driver, properties: all };
  return {
    device: made,
    complete: there !== undefined,
    qemu,
    machine: machine.upstream,
    endian,
    cpus: destination?.cpus ?? 1,
  };
}

/**
 * Does an override mean this device: the same kind, at the address if it names one, with the id if the command line has
 * it?
 */
function fits(override: Override, name: string, path: string, there: QemuDevice | undefined): boolean {
  const { driver, properties } = override;
  if (sectionName(driver) !== name && driver !== name) return false;
  if (there !== undefined && busOf(driver) !== undefined && busOf(driver) !== busOf(there.driver))
    return false;
  const id = properties.get('id');
  if (id !== undefined && there !== undefined && there.properties.get('id') !== id) return false;
  const address = properties.get('addr');
  if (address !== undefined && there === undefined) {
    const [slot = '', fn = '0'] = address.replace(/^0x/, '').split('.');
    if (!path.endsWith(`:${slot.padStart(2, '0')}.${fn}`)) return false;
  }
  const devno = properties.get('devno');
  return devno === undefined || path === `/${devno}`;
}
