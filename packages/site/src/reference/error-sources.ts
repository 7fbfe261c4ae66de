// Every code of a `StateError` or a finding, from the sources that make it.
import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import ts from 'typescript';
import { repository } from '../places.ts';

/** A place of the sources that says a code. */
export interface CodeUse {
  readonly code: string;
  /** Name of the package's folder. */
  readonly folder: string;
  /** File, from the root of the repository. */
  readonly file: string;
  /** Thrown; else reported, by `check` and its like. */
  readonly isThrown: boolean;
  /** Sentences that go with it, with … for values; empty if they are put together elsewhere. */
  readonly sentences: readonly string[];
}

const CODE = /^[a-z][a-z0-9-]+$/;

/** Lists what the published packages say, in the order of their folders, files and lines. */
export async function codeUses(folders: readonly string[]): Promise<CodeUse[]> {
  const uses: CodeUse[] = [];
  for (const folder of folders) {
    const root = join(repository, 'packages', folder, 'src');
    const files = (await readdir(root, { recursive: true })).filter((path) => path.endsWith('.ts')).sort();
    for (const path of files) {
      const text = await readFile(join(root, path), 'utf8');
      const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
      const makers = makersOf(source);
      visit(source, (node) => {
        const found = thrown(node, makers) ?? reported(node) ?? written(node);
        if (found !== undefined)
          uses.push({ ...found, folder, file: relative(repository, join(root, path)) });
      });
    }
  }
  return uses;
}

type Found = Pick<CodeUse, 'code' | 'isThrown' | 'sentences'>;

/** Functions of a file that make a `StateError` of their parameter `code`, and which of the parameters it is. */
function makersOf(source: ts.SourceFile): ReadonlyMap<string, number> {
  const makers = new Map<string, number>([['StateError', 0]]);
  visit(source, (node) => {
    if (!(ts.isFunctionDeclaration(node) || ts.isMethodDeclaration(node)) || node.name === undefined) return;
    const at = node.parameters.findIndex(({ name }) => name.getText(source) === 'code');
    if (at >= 0 && node.getText(source).includes('new StateError(code'))
      makers.set(node.name.getText(source), at);
  });
  return makers;
}

/** `new StateError('code', 'sentence', …)`, or a call of one of the makers. */
function thrown(node: ts.Node, makers: ReadonlyMap<string, number>): Found | undefined {
  if (!ts.isNewExpression(node) && !ts.isCallExpression(node)) return undefined;
  const name = ts.isPropertyAccessExpression(node.expression) ? node.expression.name : node.expression;
  const at = makers.get(name.getText());
  const code = at === undefined ? undefined : node.arguments?.[at];
  if (at === undefined || code === undefined || !ts.isStringLiteral(code)) return undefined;
  return { code: code.text, isThrown: true, sentences: words(node.arguments?.[at + 1]) };
}

/** `{ code: 'code', reason: 'sentence', … }`. */
function written(node: ts.Node): Found | undefined {
  if (!ts.isObjectLiteralExpression(node)) return undefined;
  const values = new Map(
    node.properties.flatMap((each) =>
      ts.isPropertyAssignment(each) ? [[each.name.getText(), each.initializer] as const] : [],
    ),
  );
  const code = values.get('code');
  if (code === undefined || !ts.isStringLiteral(code) || !CODE.test(code.text)) return undefined;
  if (!node.properties.some((each) => each.name?.getText() === 'reason')) return undefined;
  return { code: code.text, isThrown: false, sentences: words(values.get('reason')) };
}

/**
 * Functions that report a finding, with the place of the code among their arguments; the path follows, and then the
 * sentence.
 */
const REPORTERS: ReadonlyMap<string, number> = new Map([
  ['reportError', 1],
  ['reportWarning', 1],
  ['streamFinding', 0],
  ['this.report', 0],
]);

/** `reportError(report, 'code', path, 'sentence', …)` and its like. */
function reported(node: ts.Node): Found | undefined {
  if (!ts.isCallExpression(node)) return undefined;
  const at = REPORTERS.get(node.expression.getText());
  const code = at === undefined ? undefined : node.arguments[at];
  if (at === undefined || code === undefined || !ts.isStringLiteral(code)) return undefined;
  return { code: code.text, isThrown: false, sentences: words(node.arguments[at + 2]) };
}

/** The text of a literal, with … for what is put in; of both branches of a choice; of the constant that a name stands for. */
function words(node: ts.Expression | undefined): string[] {
  if (node === undefined) return [];
  if (ts.isStringLiteralLike(node)) return [node.text];
  if (ts.isTemplateExpression(node))
    return [node.head.text + node.templateSpans.map(({ literal }) => `…${literal.text}`).join('')];
  if (ts.isConditionalExpression(node)) return [...words(node.whenTrue), ...words(node.whenFalse)];
  return ts.isIdentifier(node) ? words(constant(node)) : [];
}

/** Finds what the constant of a name, in the nearest block that has one, is made of. */
function constant(name: ts.Identifier): ts.Expression | undefined {
  for (let around: ts.Node = name.parent; around.parent !== undefined; around = around.parent) {
    if (!ts.isBlock(around)) continue;
    for (const statement of around.statements) {
      if (!ts.isVariableStatement(statement)) continue;
      for (const each of statement.declarationList.declarations)
        if (each.name.getText() === name.text) return each.initializer;
    }
  }
  return undefined;
}

function visit(node: ts.Node, look: (node: ts.Node) => void): void {
  look(node);
  ts.forEachChild(node, (child) => visit(child, look));
}
