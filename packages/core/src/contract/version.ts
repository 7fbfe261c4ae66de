/**
 * Version of the contract between core, transports and devices. A layer states the version that it was written for;
 * a change that a layer written before would not survive makes it one more.
 */
export type ContractVersion = 1;
