/** Numbers of pages as regions, where neighbours are one: a ring lies in one region. */
export function pageRuns(pages: ReadonlySet<number>): { first: number; count: number }[] {
  const found: { first: number; count: number }[] = [];
  for (const page of [...pages].sort((a, b) => a - b)) {
    const last = found.at(-1);
    if (last !== undefined && page === last.first + last.count) last.count++;
    else found.push({ first: page, count: 1 });
  }
  return found;
}
