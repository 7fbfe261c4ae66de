import ts from 'typescript-5.4';

/** A name that a user of a package meets, and that has no comment. */
export interface Undocumented {
  /** File and line, from the root of the repository. */
  readonly place: string;
  /** `LiveDevice.features` */
  readonly name: string;
}

/** Flags of members that no user of a class meets. */
const HIDDEN = ts.ModifierFlags.Private | ts.ModifierFlags.Protected;

/** Something with members. */
type Shape = ts.ClassLikeDeclaration | ts.InterfaceDeclaration | ts.TypeLiteralNode;

function isShape(node: ts.Node): node is Shape {
  return ts.isClassLike(node) || ts.isInterfaceDeclaration(node) || ts.isTypeLiteralNode(node);
}

/**
 * Lists what entries export without a comment: names, and the public fields and methods of classes, interfaces and
 * object types. A member of a class is documented if the interface or class that it comes from says what it is. Members
 * of a constant are not looked at: its own comment says which table of which standard they are.
 *
 * @param root folder of the repository, with a slash at its end
 * @param entries sources that the `exports` of packages name
 */
export function undocumented(root: string, entries: readonly string[]): Undocumented[] {
  const program = ts.createProgram([...entries], {
    target: ts.ScriptTarget.ESNext,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    customConditions: ['@virtkit/source'],
    allowImportingTsExtensions: true,
    noEmit: true,
    strict: true,
    types: [],
  });
  const search = new Search(root, program.getTypeChecker());
  for (const entry of entries) {
    const source = program.getSourceFile(entry);
    if (source === undefined) throw new Error(`${entry} is not there`);
    search.module(source);
  }
  return [...search.found.values()];
}

/** Looks at modules, one after the other; what two of them export is looked at once. */
class Search {
  readonly found = new Map<string, Undocumented>();
  readonly #root: string;
  readonly #checker: ts.TypeChecker;
  readonly #seen = new Set<ts.Symbol>();

  constructor(root: string, checker: ts.TypeChecker) {
    this.#root = root;
    this.#checker = checker;
  }

  module(source: ts.SourceFile): void {
    const module = this.#checker.getSymbolAtLocation(source);
    if (module === undefined) throw new Error(`${source.fileName} is no module`);
    for (const symbol of this.#checker.getExportsOfModule(module)) this.#look(symbol);
  }

  #look(exported: ts.Symbol): void {
    const isAlias = (exported.flags & ts.SymbolFlags.Alias) !== 0;
    const symbol = isAlias ? this.#checker.getAliasedSymbol(exported) : exported;
    if (this.#seen.has(symbol)) return;
    this.#seen.add(symbol);
    const declarations = symbol.declarations ?? [];
    if (declarations.length > 0 && !declarations.some(hasComment)) this.#note(symbol.name, declarations[0]);
    for (const declaration of declarations) {
      const type = ts.isTypeAliasDeclaration(declaration) ? declaration.type : declaration;
      if (isShape(type)) this.#members(symbol.name, type);
    }
  }

  #members(of: string, type: Shape): void {
    const named = new Map<string, ts.Node[]>();
    for (const member of type.members) {
      const { name } = member;
      if (name === undefined || ts.isPrivateIdentifier(name)) continue;
      if ((ts.getCombinedModifierFlags(member) & HIDDEN) !== 0) continue;
      const key = name.getText();
      named.set(key, [...(named.get(key) ?? []), member]);
    }
    for (const [key, nodes] of named)
      if (!nodes.some(hasComment) && !this.#inherits(type, key)) this.#note(`${of}.${key}`, nodes[0]);
  }

  /** Does an interface or class that this one comes from say what the member is? */
  #inherits(type: Shape, key: string): boolean {
    if (ts.isTypeLiteralNode(type)) return false;
    const bases = (type.heritageClauses ?? []).flatMap(({ types }) => types);
    return bases.some((base) => {
      const { symbol } = this.#checker.getTypeAtLocation(base);
      const member = this.#checker.getTypeAtLocation(base).getProperty(key);
      return (
        (member?.declarations ?? []).some(hasComment) ||
        (symbol?.declarations ?? []).some((each) => isShape(each) && this.#inherits(each, key))
      );
    });
  }

  #note(name: string, node: ts.Node | undefined): void {
    const source = node?.getSourceFile();
    if (node === undefined || source === undefined || !source.fileName.startsWith(this.#root)) return;
    if (source.fileName.includes('/node_modules/')) return;
    const { line } = source.getLineAndCharacterOfPosition(node.getStart());
    const place = `${source.fileName.slice(this.#root.length)}:${line + 1}`;
    this.found.set(place + name, { place, name });
  }
}

function hasComment(node: ts.Node): boolean {
  const owner = ts.isVariableDeclaration(node) ? node.parent.parent : node;
  return ts.getJSDocCommentsAndTags(owner).length > 0;
}
