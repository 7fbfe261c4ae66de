/** A machine type that a distribution gave a name of its own. */
export interface DistributionMachine {
  /** `pc-q35-rhel9.6.0` */
  readonly name: string;
  /** Whose it is: `RHEL` stands for all distributions that are built from its packages. */
  readonly vendor: 'RHEL' | 'Ubuntu';
  /** QEMU's own machine type with the same virtio devices, but for {@link differences}; absent: not known to virtkit. */
  readonly upstream?: string;
  /** What is not as in {@link upstream}. Absent for a machine of which that is not known. */
  readonly differences: readonly MachineDifference[];
  /** Where it was read: the file of the packaging. */
  readonly source: string;
}

/** A property that a distribution's machine type sets to another value than QEMU's own one. */
export interface MachineDifference {
  /** Whose property it is: the machine's own, or that of the devices that have one of this name. */
  readonly of: 'machine' | 'devices';
  /** Name of the property: `rss`, `x-mtu-bypass-backend`. */
  readonly property: string;
  /** The value that the machine type sets, as QEMU's compat tables write it. */
  readonly value: string;
  /** The packages that do so, where not all of them do. */
  readonly since?: readonly PackageSince[];
  /** Where it was read: the file of the packaging. */
  readonly source: string;
}

/** The first package of a stream of packages that does something. */
export interface PackageSince {
  /** `el9` */
  readonly dist: string;
  /** `9.1.0-20` */
  readonly package: string;
  /** What older packages of that stream do is not known, rather than known to be otherwise. */
  readonly beforeUnknown?: true;
  /** What packages of that stream do from this one on is not known. */
  readonly unknownFrom?: string;
}
