import { StateError } from '@virtkit/vmstate';
import { SaxesParser } from 'saxes';

/** Element of an XML document. */
export interface XmlElement {
  /** Name of the element with its prefix, as it is written: `disk`, `qemu:arg`. */
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: readonly XmlElement[];
  /** Text directly inside of the element, without the white space around it. */
  readonly text: string;
}

/** Largest number of characters of a document. A domain with a thousand disks has a million. */
const XML_MAX = 1 << 24;
/** Deepest nesting of elements. A domain's own is ten; chains of disk images go deeper. */
const DEPTH_MAX = 512;
/** Largest number of elements and attributes, each an object. */
const NODES_MAX = 1 << 18;

interface Open {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: XmlElement[];
  text: string;
}

/**
 * Reads an XML document into its elements. There are no entities but the five of XML, and a document type is refused, so that a
 * document cannot grow.
 *
 * @throws StateError `xml` for what is no XML, has a document type or is nested too deep; `limit` for one that is too large
 */
export function parseXml(text: string): XmlElement {
  if (text.length > XML_MAX) throw tooMuch('characters', text.length, XML_MAX);
  // a line break behind the end, and one in front, are libvirt's own
  const parser = new SaxesParser({ xmlns: false, position: true });
  const open: Open[] = [];
  let [root, nodes]: [XmlElement | undefined, number] = [undefined, 0];
  const refuse = (reason: string): never => {
    throw new StateError('xml', `the XML cannot be read: ${reason}`, { line: parser.line });
  };
  parser.on('error', ({ message }) => refuse(message));
  parser.on('doctype', () => refuse(`line ${parser.line}: a document type (<!DOCTYPE) is not read`));
  parser.on('text', (more) => {
    const top = open.at(-1);
    if (top !== undefined) top.text += more;
  });
  parser.on('cdata', (more) => {
    const top = open.at(-1);
    if (top !== undefined) top.text += more;
  });
  parser.on('opentag', ({ name, attributes }) => {
    if (open.length >= DEPTH_MAX) refuse(`line ${parser.line}: nested deeper than ${DEPTH_MAX}`);
    const own = new Map<string, string>(Object.entries(attributes));
    nodes += 1 + own.size;
    if (nodes > NODES_MAX) throw tooMuch('elements and attributes', nodes, NODES_MAX);
    open.push({ name, attributes: own, children: [], text: '' });
  });
  parser.on('closetag', () => {
    const done = open.pop();
    if (done === undefined) return;
    const element: XmlElement = { ...done, text: done.text.trim() };
    const above = open.at(-1);
    if (above === undefined) root ??= element;
    else above.children.push(element);
  });
  parser.write(text.trim()).close();
  return root ?? refuse('there is no element');
}

function tooMuch(what: string, count: number, limit: number): StateError {
  return new StateError('limit', `XML of ${count} ${what}, at most ${limit} are read`, { count, limit });
}

/** Finds the first child with a name. */
export function child(of: XmlElement | undefined, name: string): XmlElement | undefined {
  return of?.children.find((each) => each.name === name);
}

/** Lists all children with a name. */
export function children(of: XmlElement | undefined, name: string): readonly XmlElement[] {
  return of?.children.filter((each) => each.name === name) ?? [];
}

/**
 * Finds a value inside of an element by its path: `driver@queues` is an attribute of a child, `@model` one of the
 * element itself, `serial` the text of a child, `driver/host@csum` an attribute two levels below.
 */
export function valueAt(of: XmlElement, path: string): string | undefined {
  const [elements = '', attribute] = path.split('@');
  let at: XmlElement | undefined = of;
  for (const name of elements.split('/')) if (name !== '') at = child(at, name);
  return attribute === undefined ? at?.text : at?.attributes.get(attribute);
}
