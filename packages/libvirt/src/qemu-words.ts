/** A device for QEMU's command line. */
export interface DeviceWords {
  readonly driver: string;
  readonly properties: Map<string, string>;
}

/** `driver,key=value,…`; a comma inside of a value is written twice. */
export function optionText(first: string, values: Iterable<readonly [string, string]>): string {
  const escaped = (text: string): string => text.replaceAll(',', ',,');
  return [escaped(first), ...[...values].map(([key, value]) => `${key}=${escaped(value)}`)].join(',');
}

/** `on` or `off` for what XML, YAML and Proxmox write; undefined for anything else. */
export function switchText(text: string | undefined): 'on' | 'off' | undefined {
  if (text === undefined) return undefined;
  if (/^(on|yes|true|1|enabled)$/i.test(text)) return 'on';
  return /^(off|no|false|0|disabled)$/i.test(text) ? 'off' : undefined;
}
