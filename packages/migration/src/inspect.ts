/**
 * Content of a stream for people who look: the devices decoded and judged, their fields by path, and the JSON of
 * `virtkit inspect --json`. The command and the inspector are made of it, and so show the same.
 *
 * You bring:  a stream that was read, and the layers to decode with.
 * You get:    devices with every field and its place, outlines in a few words, JSON.
 * Not here:   text and pages.
 * @packageDocumentation
 */
export {
  configEndian,
  type DeviceOutline,
  type Examined,
  examineDevices,
  outlineOf,
  summarizeDevice,
} from './inspect/examine.ts';
export { type FoundField, fieldsUnder, fieldValue, findField, isSimple } from './inspect/fields.ts';
export {
  errorJson,
  findingJson,
  type InspectionOptions,
  inspectionOf,
  type ReadStream,
} from './inspect/inspection.ts';
