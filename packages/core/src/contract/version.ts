/**
 * Version of the contract between core, transports and devices. A layer states the version that it was written for; a
 * change that breaks existing layers raises it by one.
 */
export type ContractVersion = 1;
