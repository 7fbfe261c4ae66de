// How a changeset becomes an entry of a change log: its words, and nothing else. New versions of neighbours that a package needs
// are one line, without the words of their change logs.

/** @param {{ summary: string }} changeset */
const getReleaseLine = async ({ summary }) => {
  const [first = '', ...rest] = summary.trim().split('\n');
  return [`- ${first}`, ...rest.map((line) => (line === '' ? '' : `  ${line}`))].join('\n');
};

/**
 * @param {unknown[]} _changesets
 * @param {{ name: string, newVersion: string }[]} dependencies
 */
const getDependencyReleaseLine = async (_changesets, dependencies) => {
  if (dependencies.length === 0) return '';
  const needed = dependencies.map(({ name, newVersion }) => `\`${name}\` ${newVersion}`);
  return `- Needs ${needed.join(', ')}.`;
};

module.exports = { getReleaseLine, getDependencyReleaseLine };
