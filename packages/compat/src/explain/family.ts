import type { Explanation, MessageRule } from '@virtkit/core/qemu';

/** Family of messages, with the answer to them: `{name}` stands where a named group of the pattern goes. */
export interface Family {
  /** Short name of the kind of message, for programs. */
  readonly code: string;
  /** Pattern of the messages; its named groups are the facts. */
  readonly pattern: RegExp;
  readonly meaning: string;
  /** Things to change, most likely first. */
  readonly advice: readonly string[];
  /** True if the family is only for lines of QEMU itself. See {@link MessageRule.broad}. */
  readonly broad?: true;
  /** Role of the messages; `cause` unless something else is said. */
  readonly role?: Explanation['role'];
}

/** Makes rules for families of messages: one answer for all that match, which names what each of them names. */
export const rulesOf = (families: readonly Family[]): readonly MessageRule[] => families.map(ruleOf);

function ruleOf({ code, pattern, meaning, advice, broad, role = 'cause' }: Family): MessageRule {
  return {
    ...(broad && { broad }),
    pattern,
    explain: (match) => {
      const facts = Object.fromEntries(
        Object.entries(match.groups ?? {}).filter(([, value]) => value !== undefined && value !== ''),
      );
      const filled = (text: string): string =>
        tidied(text.replace(/\{(\w+)\}/g, (_, name: string) => facts[name] ?? ''));
      return { code, role, meaning: filled(meaning), advice: advice.map(filled), facts };
    },
  };
}

/** Removes from a sentence what the values that the message does not have would have stood between. */
function tidied(text: string): string {
  return text
    .replace(/ ?\([\s:;,]*\)/g, '')
    .replace(/ {2,}/g, ' ')
    .replace(/([(]) | ([).,;:])/g, '$1$2')
    .replace(/[:.]+([.;)])/g, '$1')
    .replace(/\([:;,\s]+/g, '(')
    .replace(/\s""/g, '')
    .replace(/[:\s]+$/, '.');
}
