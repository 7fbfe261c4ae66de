/** As much of JSON Schema as the schemas in `schema/` use. */
import { readFileSync } from 'node:fs';

interface Schema {
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, Schema>>;
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly pattern?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean;
  readonly items?: Schema;
}

/** What of `json` is not as the schema says, by path; empty if all is. */
export function violations(name: 'inspect' | 'verify', json: unknown): string[] {
  const text = readFileSync(new URL(`../schema/${name}.schema.json`, import.meta.url), 'utf8');
  const root = JSON.parse(text) as Schema;
  return [...check(root, json, '$', root.$defs ?? {})];
}

function* check(
  schema: Schema,
  json: unknown,
  path: string,
  defs: Readonly<Record<string, Schema>>,
): Generator<string> {
  if (schema.$ref !== undefined) {
    const target = defs[schema.$ref.slice('#/$defs/'.length)];
    if (target === undefined) yield `${path}: ${schema.$ref} is not defined`;
    else yield* check(target, json, path, defs);
  }
  if (schema.const !== undefined && schema.const !== json) yield `${path}: ${String(json)}`;
  if (schema.enum !== undefined && !schema.enum.includes(json)) yield `${path}: ${String(json)}`;
  if (schema.type !== undefined && ![schema.type].flat().includes(typeOf(json, [schema.type].flat())))
    yield `${path}: ${typeOf(json, [])} is no ${String(schema.type)}`;
  if (schema.pattern !== undefined && !new RegExp(schema.pattern).test(String(json)))
    yield `${path}: ${String(json)}`;
  if (schema.anyOf !== undefined) {
    const tried = schema.anyOf.map((one) => [...check(one, json, path, defs)]);
    // the nearest one says most
    if (tried.every(({ length }) => length > 0)) yield* tried.sort((a, b) => a.length - b.length)[0] ?? [];
  }
  if (Array.isArray(json) && schema.items !== undefined) {
    for (const [index, item] of json.entries()) yield* check(schema.items, item, `${path}[${index}]`, defs);
  }
  if (typeof json === 'object' && json !== null && !Array.isArray(json))
    yield* members(schema, json, path, defs);
}

function* members(
  { properties = {}, required = [], additionalProperties }: Schema,
  json: object,
  path: string,
  defs: Readonly<Record<string, Schema>>,
): Generator<string> {
  for (const key of required) if (!Object.hasOwn(json, key)) yield `${path}: no ${key}`;
  for (const [key, value] of Object.entries(json)) {
    const property = Object.hasOwn(properties, key) ? properties[key] : undefined;
    if (property !== undefined) yield* check(property, value, `${path}.${key}`, defs);
    else if (additionalProperties === false) yield `${path}: ${key} is not described`;
  }
}

function typeOf(json: unknown, wanted: readonly string[]): string {
  if (json === null) return 'null';
  if (Array.isArray(json)) return 'array';
  return Number.isInteger(json) && wanted.includes('integer') ? 'integer' : typeof json;
}
