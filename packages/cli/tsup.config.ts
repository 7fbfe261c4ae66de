import { program } from '../../tsup.base.ts';

export default program({ cli: 'src/main.ts' });
