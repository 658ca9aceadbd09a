/** The `everpod` command, as `src/cli/main.ts` runs it. */
import { run } from '../../../src/cli/run.ts';

process.exitCode = await run(process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
});
