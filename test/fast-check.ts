/** fast-check, which draws from the seed of this run; the tests import it from here, and not from the package. */
import fc from 'fast-check';
import { testSeed } from './size.ts';

fc.configureGlobal({ seed: testSeed(1) });

export default fc;
