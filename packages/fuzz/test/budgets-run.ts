// In a process whose heap is limited: reads each input, and says how much memory the process has had. An input that takes more than
// the heap ends the process.
import { BUDGETS, taken } from './budgets.ts';

const MOST = 1 << 24;

for (const budget of BUDGETS) {
  console.log(budget.name);
  await taken(budget, budget.make(budget.most ?? MOST));
}
console.log(`all, in ${process.resourceUsage().maxRSS} KiB`);
