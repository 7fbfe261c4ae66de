/** Names of the VMs that lines of a log are about. */

/** Patterns that find the VM of one line. Each pattern's first group is the name. */
const OF_LINE: readonly RegExp[] = [
  /(?:^|[[\s])(?:pod\/)?virt-launcher-([a-z0-9][a-z0-9.-]{0,62})-[a-z0-9]{5}(?![\w-])/,
  /\b(?:virtualmachineinstance|virtualmachine|vmi|vm)\/([\w.-]{1,63})(?=\s)/i,
  /\(vm='([^']{1,80})'\)/,
  /\bid=-?\d+ name='?([\w.-]{1,80})'?,? uuid=/,
  /\[instance: ([0-9a-f]{8}-[0-9a-f-]{27})\]/,
  /\/libvirt\/qemu\/(?!log\/|save\/|snapshot\/)([\w.@+-]{1,80})\.log\b/,
  /\bdomain-\d+-([\w.-]{1,80}?)(?=\/)/,
  /\bqm(?:igrate|start|resume|restore):(\d{3,9}):/,
  /\bVM (\d{3,9})\b(?= |:|$)/,
  /\/run\/qemu-server\/(\d{3,9})\./,
];

/** Patterns that find the VM of the lines behind: the header of a file, QEMU's command line. */
const FROM_HERE: readonly RegExp[] = [
  /^==> \S*?([^/\s]+)\.log <==$/,
  /(?:^|\s)-name '?guest=([\w.:@+-]{1,80})(?=[,'\s])/,
  /^\s*vmiName: "?([\w.-]{1,63})/,
  /^Name:\s+([\w.-]{1,63})$/,
];

/** Finds the VM that one line is about. */
export function vmOfLine(line: string): string | undefined {
  for (const pattern of OF_LINE) {
    const name = pattern.exec(line)?.[1];
    if (name !== undefined) return name;
  }
  return undefined;
}

/** Finds the VM that the lines from here on are about. */
export function vmFromHere(line: string): string | undefined {
  for (const pattern of FROM_HERE) {
    const name = pattern.exec(line)?.[1];
    if (name !== undefined) return name;
  }
  return undefined;
}
