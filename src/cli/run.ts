/**
 * One command line of `everpod`, from its words to its exit code.
 *
 * Exit codes: 0 all is well, 1 the answer is no (damage found, nothing to accept), 2 the command could not be carried out.
 */
import { parseArgs } from 'node:util';
import { PodError } from '../core/errors.ts';
import { COMMANDS, type Output } from './commands.ts';

const HELP = `Usage: everpod COMMAND PATH [options]

Commands:
  verify PATH                 read everything and check it
  accept PATH                 take over what was edited in the shard files by hand
  repair PATH                 salvage every line that can be read; the rest goes into PATH/quarantine
  export PATH                 write every entry to standard output, one JSON array [key, value] a line
  export PATH --tastypy DIR   write the folder DIR in the format of tastypy
  torture PATH                find out whether pods survive kill -9 here: write in child processes, kill them at random
                              moments, compare what is left; PATH must be missing or empty, and is kept if anything is wrong

Options:
  --json                      answer in JSON
  --minutes N                 how long torture goes on (1)
  --seed N                    repeat what a torture with this seed wrote
  --help                      this text

Example:
  everpod verify crawl.pod
`;

/** Runs one command line. Returns the exit code; a promise of it where the command takes its time. */
export function run(args: readonly string[], output: Output): number | Promise<number> {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
        tastypy: { type: 'string' },
        minutes: { type: 'string' },
        seed: { type: 'string' },
      },
    });
    const [name, path, ...rest] = positionals;
    if (values.help === true || name === undefined) {
      output.out(HELP);
      return values.help === true ? 0 : 2;
    }
    const command = COMMANDS.get(name);
    if (command === undefined || path === undefined || rest.length > 0) {
      const why = command === undefined ? `there is no command ${name}` : 'it takes one path';
      output.err(`everpod: ${why}\n\n${HELP}`);
      return 2;
    }
    const { json = false, tastypy, minutes, seed } = values;
    if (tastypy !== undefined && name !== 'export') {
      output.err(`everpod: --tastypy is an option of export\n\n${HELP}`);
      return 2;
    }
    const code = command({ path, json, tastypy, minutes, seed }, output);
    return typeof code === 'number' ? code : code.catch((error: unknown) => explain(error, output, json));
  } catch (error) {
    return explain(error, output, args.includes('--json'));
  }
}

/** Says what went wrong. Returns the exit code; what is no error of ours or of the command line is thrown on. */
function explain(error: unknown, output: Output, json: boolean): number {
  if (error instanceof PodError) {
    const { code, message, path, file, line } = error;
    if (json) output.out(`${JSON.stringify({ error: { code, message, path, file, line } })}\n`);
    output.err(`everpod: ${error.code}: ${error.message}\n`);
    return error.code === 'ERR_POD_CORRUPT' ? 1 : 2;
  }
  if (error instanceof TypeError && 'code' in error) {
    output.err(`everpod: ${error.message}\n\n${HELP}`);
    return 2;
  }
  throw error;
}
