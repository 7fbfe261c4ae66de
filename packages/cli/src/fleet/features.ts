/**
 * Reads sets of features that somebody wrote down, by the id of the device: `{"net0": "0x10130afffaf"}`. @throws Error
 * for other text
 */
export function featuresOf(json: string): ReadonlyMap<string, bigint> {
  const value: unknown = JSON.parse(json);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error('features: an object expected, such as {"net0": "0x10130afffaf"}');
  return new Map(
    Object.entries(value).map(([id, set]) => {
      if (typeof set !== 'string' || !/^0x[0-9a-f]{1,32}$/i.test(set))
        throw new Error(`features of ${id}: a hexadecimal set expected, such as 0x10130afffaf`);
      return [id, BigInt(set)];
    }),
  );
}
