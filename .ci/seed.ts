// Random tests take the same cases in each run, so that a change is judged by what it changes.
// VIRTKIT_SEED=N takes others, VIRTKIT_SEED=random new ones each time; what fails prints its seed.
import fc from 'fast-check';

const chosen = process.env['VIRTKIT_SEED'] ?? '1';
const seed = chosen === 'random' ? Math.floor(Math.random() * 2 ** 31) : Number(chosen);
if (!Number.isInteger(seed)) throw new Error(`VIRTKIT_SEED=${chosen}: neither a whole number nor "random"`);

// for the tests that have a generator of their own
process.env['VIRTKIT_SEED'] = String(seed);
// A list is as long as its `maxLength` says. Without this, fast-check makes about ten elements whatever is allowed, and sequences of
// operations stay too short to fill a ring or to go around it.
fc.configureGlobal({ seed, defaultSizeToMaxWhenMaxSpecified: true });
