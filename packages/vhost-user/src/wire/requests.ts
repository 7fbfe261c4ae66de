/** Numbers of the front end's requests. QEMU `docs/interop/vhost-user.rst`, "Front-end message types". */
export const REQUEST = {
  GET_FEATURES: 1,
  SET_FEATURES: 2,
  SET_OWNER: 3,
  RESET_OWNER: 4,
  SET_MEM_TABLE: 5,
  SET_LOG_BASE: 6,
  SET_LOG_FD: 7,
  SET_VRING_NUM: 8,
  SET_VRING_ADDR: 9,
  SET_VRING_BASE: 10,
  GET_VRING_BASE: 11,
  SET_VRING_KICK: 12,
  SET_VRING_CALL: 13,
  SET_VRING_ERR: 14,
  GET_PROTOCOL_FEATURES: 15,
  SET_PROTOCOL_FEATURES: 16,
  GET_QUEUE_NUM: 17,
  SET_VRING_ENABLE: 18,
  SET_BACKEND_REQ_FD: 21,
  GET_CONFIG: 24,
  SET_CONFIG: 25,
  GET_INFLIGHT_FD: 31,
  SET_INFLIGHT_FD: 32,
  RESET_DEVICE: 34,
  GET_MAX_MEM_SLOTS: 36,
  ADD_MEM_REG: 37,
  REM_MEM_REG: 38,
  SET_STATUS: 39,
  GET_STATUS: 40,
} as const;

export type RequestName = keyof typeof REQUEST;

/** Names of the front end's requests, by number. */
export const REQUEST_NAMES: ReadonlyMap<number, RequestName> = new Map(
  (Object.keys(REQUEST) as RequestName[]).map((name) => [REQUEST[name], name]),
);

/** Numbers of the back end's requests, over the socket that SET_BACKEND_REQ_FD brings. */
export const BACKEND_REQUEST = { CONFIG_CHANGE_MSG: 2 } as const;

/** Bits of a message's flags. */
export const FLAG = { VERSION_MASK: 3, VERSION: 1, REPLY: 4, NEED_REPLY: 8 } as const;

/** Bits of the protocol features. */
export const PROTOCOL = {
  MQ: 0,
  LOG_SHMFD: 1,
  REPLY_ACK: 3,
  BACKEND_REQ: 5,
  CONFIG: 9,
  INFLIGHT_SHMFD: 12,
  RESET_DEVICE: 13,
  CONFIGURE_MEM_SLOTS: 15,
  STATUS: 16,
} as const;

/** Feature bits that are vhost-user's and no device's. */
export const VHOST_FEATURE = {
  /** Feature bit that says that what the device writes is to be noted in the dirty log. */
  LOG_ALL: 26,
  PROTOCOL_FEATURES: 30,
} as const;

/** Length in bytes of the header in front of a message's payload. */
export const HEADER_BYTES = 12;
/** Largest length of a payload in bytes: a memory table of eight regions and a configuration space are the longest. */
export const PAYLOAD_MAX = 512;
/** Largest number of regions of SET_MEM_TABLE, which is the specification's. */
export const TABLE_REGIONS_MAX = 8;
/** Largest number of file descriptors that come with a message. */
export const DESCRIPTORS_MAX = 8;
/**
 * Largest number of bytes of a configuration space that are read or written at a time, which is the specification's.
 */
export const CONFIG_MAX = 256;
