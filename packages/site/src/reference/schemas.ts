// The JSON that commands print, by its schemas.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { repository } from '../places.ts';
import { code, plain, table } from '../table.ts';

/** Part of a JSON schema that is used. */
interface Schema {
  readonly title?: string;
  readonly description?: string;
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly $ref?: string;
  readonly oneOf?: readonly Schema[];
  readonly anyOf?: readonly Schema[];
  readonly $defs?: Readonly<Record<string, Schema>>;
}

const FOLDER = 'packages/cli/schema';

/** All schemas: a heading and tables for each. */
export async function schemas(): Promise<string> {
  const parts: string[] = [];
  for (const file of (await readdir(join(repository, FOLDER))).sort()) {
    const schema = JSON.parse(await readFile(join(repository, FOLDER, file), 'utf8')) as Schema;
    const link = `[${code(file)}](https://github.com/virtkit/virtkit/blob/main/${FOLDER}/${file})`;
    parts.push(
      `## ${plain(schema.title ?? file)}`,
      `${plain(schema.description ?? '')} The schema: ${link}.`.trim(),
      shape(schema),
    );
    for (const [name, part] of Object.entries(schema.$defs ?? {}))
      if (part.properties !== undefined) parts.push(`**${plain(name)}**`, shape(part));
  }
  return parts.filter((part) => part !== '').join('\n\n');
}

function shape(schema: Schema): string {
  const required = new Set(schema.required);
  const rows = Object.entries(schema.properties ?? {}).map(([name, part]) => [
    code(name),
    plain(typeOf(part)),
    required.has(name) ? '' : 'may be left out',
    plain(part.description ?? ''),
  ]);
  return rows.length === 0 ? '' : table(['property', 'type', '', 'what it is'], rows);
}

function typeOf(schema: Schema): string {
  if (schema.$ref !== undefined) return schema.$ref.replace('#/$defs/', '');
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) return schema.enum.map((each) => JSON.stringify(each)).join(' or ');
  if (schema.items !== undefined) return `list of ${typeOf(schema.items)}`;
  const either = schema.oneOf ?? schema.anyOf;
  if (either !== undefined) return either.map(typeOf).join(' or ');
  return [schema.type ?? 'anything'].flat().join(' or ');
}
