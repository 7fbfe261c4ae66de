import { ClientError } from '../errors.ts';
import { DESCRIPTORS_MAX, TRANSFER_MAX, VERSION_MAJOR, VERSION_MINOR } from './commands.ts';

/** Largest length in bytes of VERSION's JSON. */
export const VERSION_DATA_MAX = 4096;
/** Value of `max_data_xfer_size` for a side that says nothing. */
const TRANSFER_DEFAULT = 1 << 20;

/** Facts that a client has told of itself. */
export interface ClientVersion {
  readonly minor: number;
  /** True if the client knows REGION_WRITE_MULTI. */
  readonly writeMultiple: boolean;
  /** Largest number of bytes that DMA_READ and DMA_WRITE may ask the client for. */
  readonly transferMax: number;
}

/**
 * Reads the payload of VERSION.
 *
 * @throws ClientError for another major version, and for what is no JSON object
 */
export function readVersion(payload: DataView, length: number): ClientVersion {
  if (length < 4 || length > 4 + VERSION_DATA_MAX)
    throw new ClientError(`VERSION: ${length} bytes, 4 to ${4 + VERSION_DATA_MAX} expected`, { length });
  const major = payload.getUint16(0, true);
  if (major !== VERSION_MAJOR)
    throw new ClientError(
      `VERSION: ${major}.${payload.getUint16(2, true)}, ${VERSION_MAJOR} is spoken here`,
      {
        major,
      },
    );
  const capabilities = length === 4 ? {} : capabilitiesOf(payload, length);
  const { write_multiple: multiple, max_data_xfer_size: size } = capabilities;
  return {
    minor: payload.getUint16(2, true),
    writeMultiple: multiple === true,
    transferMax: typeof size === 'number' && Number.isInteger(size) && size >= 0 ? size : TRANSFER_DEFAULT,
  };
}

function capabilitiesOf(payload: DataView, length: number): Readonly<Record<string, unknown>> {
  if (payload.getUint8(length - 1) !== 0) throw new ClientError('VERSION: its text does not end with 0');
  const text = new TextDecoder().decode(new Uint8Array(payload.buffer, payload.byteOffset + 4, length - 5));
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    throw new ClientError('VERSION: its text is no JSON');
  }
  if (!isObject(data)) throw new ClientError('VERSION: its text is no JSON object');
  const { capabilities = {} } = data;
  if (!isObject(capabilities)) throw new ClientError('VERSION: its capabilities are no JSON object');
  return capabilities;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Makes the answer to VERSION: it says of this side no more than the client has said. @param mapsMax what
 * `max_dma_maps` is to be
 */
export function versionReply({ writeMultiple }: ClientVersion, mapsMax: number): Uint8Array {
  const capabilities = {
    max_msg_fds: DESCRIPTORS_MAX,
    max_data_xfer_size: TRANSFER_MAX,
    max_dma_maps: mapsMax,
    pgsizes: 4096,
    ...(writeMultiple && { write_multiple: true }),
  };
  const text = new TextEncoder().encode(`${JSON.stringify({ capabilities })}\0`);
  const bytes = new Uint8Array(4 + text.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, VERSION_MAJOR, true);
  view.setUint16(2, VERSION_MINOR, true);
  bytes.set(text, 4);
  return bytes;
}
