import { StateError } from '@virtkit/vmstate';

/** Device for QEMU's command line. */
export interface DeviceWords {
  /** QEMU's device type: `virtio-blk-pci`. */
  readonly driver: string;
  /** Properties by name, values as on QEMU's command line; the order is that of the line. */
  readonly properties: Map<string, string>;
}

/**
 * Writes an option: `driver,key=value,…`; a comma inside of a value is written twice.
 *
 * @throws StateError where the first word is no name of a type: with `=` in it QEMU reads a property
 */
export function optionText(first: string, values: Iterable<readonly [string, string]>): string {
  if (first.includes('=')) throw new StateError('xml', `"${first.slice(0, 80)}" is no name of a type`, {});
  const escaped = (text: string): string => text.replaceAll(',', ',,');
  return [escaped(first), ...[...values].map(([key, value]) => `${key}=${escaped(value)}`)].join(',');
}

/** Reads a switch, `on` or `off`, as XML, YAML and Proxmox write it; undefined for anything else. */
export function switchText(text: string | undefined): 'on' | 'off' | undefined {
  if (text === undefined) return undefined;
  if (/^(on|yes|true|1|enabled)$/i.test(text)) return 'on';
  return /^(off|no|false|0|disabled)$/i.test(text) ? 'off' : undefined;
}
