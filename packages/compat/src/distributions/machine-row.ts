/** Machine type that a distribution gave a name of its own. */
export interface DistributionMachine {
  /** Name of the machine type: `pc-q35-rhel9.6.0`. */
  readonly name: string;
  /** Distribution that the machine type is of; `RHEL` stands for all that are built from its packages. */
  readonly vendor: 'RHEL' | 'Ubuntu';
  /** QEMU's own machine type with the same virtio devices, but for {@link differences}; absent: not known to virtkit. */
  readonly upstream?: string;
  /**
   * Properties in which the machine type differs from {@link upstream}. Absent for a machine of which that is not
   * known.
   */
  readonly differences: readonly MachineDifference[];
  /** Source of this row: the file of the packaging. */
  readonly source: string;
}

/** A property that a distribution's machine type sets to another value than QEMU's own one. */
export interface MachineDifference {
  /** Owner of the property: the machine itself, or the devices that have one of this name. */
  readonly of: 'machine' | 'devices';
  /** Name of the property: `rss`, `x-mtu-bypass-backend`. */
  readonly property: string;
  /** The value that the machine type sets, as QEMU's compat tables write it. */
  readonly value: string;
  /** First packages that set the value, where not all of them do. */
  readonly since?: readonly PackageSince[];
  /** Source of this row: the file of the packaging. */
  readonly source: string;
}

/** First package of a stream of packages that does something. */
export interface PackageSince {
  /** Stream of packages: `el9`. */
  readonly dist: string;
  /** Version of the package: `9.1.0-20`. */
  readonly package: string;
  /** True if it is not known what older packages of that stream do, rather than known to be otherwise. */
  readonly beforeUnknown?: true;
  /** Version of the package from which on it is not known what packages of that stream do. */
  readonly unknownFrom?: string;
}
