// Where the program has its guest memory from. A rehearsal puts another copy of core here.
export { type Gpa, MappedMemory } from '@virtkit/core';
