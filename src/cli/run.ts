/**
 * One command line of `everpod`, from its words to its exit code.
 *
 * Exit codes: 0 all is well, 1 the answer is no (damage found, nothing to accept), 2 the command could not be carried out.
 */
import { CommanderError, Command as CommandLine } from 'commander';
import { PodError } from '../core/errors.ts';
import { type Command, type Output, sayError } from './command.ts';
import { KEEPING } from './keep.ts';
import { LOOKING } from './look.ts';
import { MENDING } from './mend.ts';
import { SERVING } from './serve.ts';
import { STEERING } from './steer.ts';
import { TRANSFERRING } from './transfer.ts';
import { WATCHING } from './watch.ts';

/** Every command there is. */
export const COMMANDS: readonly Command[] = [
  ...LOOKING,
  ...TRANSFERRING,
  ...WATCHING,
  ...STEERING,
  ...MENDING,
  ...KEEPING,
  ...SERVING,
];

const HELP_WIDTH = 100;
/** As in package.json, which is not where the code is in a bundle. */
const VERSION = '0.1.0';

/** Runs one command line. Returns the exit code; a promise of it where the command takes its time. */
export function run(args: readonly string[], output: Output): number | Promise<number> {
  let code: number | Promise<number> = 0;
  const line = commandLine(output, (command, path, words, options) => {
    const given = { path, words, json: options.json === true, options };
    code = command.run(given, output);
  });
  try {
    line.parse([...args], { from: 'user' });
    return typeof code === 'number'
      ? code
      : (code as Promise<number>).catch((error: unknown) => explain(error, output, args));
  } catch (error) {
    return explain(error, output, args);
  }
}

type Carrier = (command: Command, path: string, words: readonly string[], options: Given['options']) => void;
type Given = Parameters<Command['run']>[0];

function commandLine(output: Output, carryOut: Carrier): CommandLine {
  const program = new CommandLine('everpod');
  configure(program, output);
  program
    .description('Looks at, steers and mends the folders of everpod. Looking disturbs no program that is at work.')
    .version(VERSION, '-V, --version', 'say which version this is')
    .usage('COMMAND PATH [options]')
    .helpCommand(false)
    .addHelpText('after', '\nExit codes: 0 all is well, 1 the answer is no, 2 it could not be carried out.');
  for (const command of COMMANDS) {
    const { name, words, paths, summary, options = [], examples, isHidden = false } = command;
    const sub = program.command(name, { hidden: isHidden });
    configure(sub, output);
    sub.summary(summary.replace(/;.*/s, '')).description(summary);
    if (paths === undefined) sub.argument('<path>', 'the folder');
    else for (const path of paths) sub.argument(`<${path}>`, 'a folder');
    if (words !== undefined) sub.argument(words, 'as ls prints it: a text as it is, a number or a list as JSON');
    for (const [flags, what] of options) sub.option(flags, what);
    sub.option('--json', 'answer in JSON');
    sub.addHelpText('after', `\nExamples:\n${examples.map((example) => `  everpod ${example}\n`).join('')}`);
    sub.action((path: string, ...rest: unknown[]) => {
      const given = words === undefined && paths === undefined ? [] : (rest[0] as string | string[]);
      carryOut(command, path, typeof given === 'string' ? [given] : given, sub.opts());
    });
  }
  return program;
}

function configure(line: CommandLine, { out, err }: Output): void {
  line
    .exitOverride()
    .showHelpAfterError()
    .allowExcessArguments(false)
    .helpOption('-h, --help', 'this text')
    .configureHelp({ helpWidth: HELP_WIDTH })
    .configureOutput({
      writeOut: out,
      writeErr: err,
      outputError: (text, write) => write(text.replace(/^error:/, 'everpod:')),
    });
}

/** Says what went wrong. Returns the exit code; what is no error of ours or of the command line is thrown on. */
function explain(error: unknown, output: Output, args: readonly string[]): number {
  if (error instanceof PodError) {
    sayError(error, args.includes('--json'), output);
    return error.code === 'ERR_POD_CORRUPT' ? 1 : 2;
  }
  // It has said what is wrong, or the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  throw error;
}
