/** JSON against the schemas in `schema/`. */
import { readFileSync } from 'node:fs';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';

export type SchemaName =
  | 'inspect'
  | 'verify'
  | 'check'
  | 'convert'
  | 'diff'
  | 'explain'
  | 'visit'
  | 'host'
  | 'check-all';

const ajv = new Ajv2020({ allErrors: true, strictTypes: false });
const compiled = new Map<SchemaName, ValidateFunction>();

/** What of `json` is not as the schema says, by path; empty if all is. */
export function violations(name: SchemaName, json: unknown): string[] {
  const url = new URL(`../schema/${name}.schema.json`, import.meta.url);
  const validate = compiled.get(name) ?? ajv.compile(JSON.parse(readFileSync(url, 'utf8')) as object);
  compiled.set(name, validate);
  if (validate(json)) return [];
  return (validate.errors ?? []).map(({ instancePath, message = '', params }) =>
    `${instancePath}: ${message} ${JSON.stringify(params)}`.trim(),
  );
}
