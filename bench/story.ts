/**
 * Plays the story that `docs/transcript.md` tells, with real processes: a crawl that is killed, looked at, carried on, and whose failures are
 * dealt with by their class.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { demoSite } from '../examples/crawl/demo-site.ts';
import { type Server, serve } from '../examples/crawl/serve.ts';
import { ProgressTracker } from '../src/index.ts';

/** How the programs are started, without their arguments. */
export interface Programs {
  readonly crawl: readonly string[];
  readonly everpod: readonly string[];
}

/** What is said, and then typed and printed. */
interface Scene {
  readonly words: string;
  readonly console: string;
}

/** Where the site of the story is, as the document has it; each time it is told it is at another port. */
const SITE = 'http://127.0.0.1:8080';
const TASKS = 'crawl-data/http-127.0.0.1_8080/tasks.pod';
const CRAWL = 'npx tsx examples/crawl.ts';
/** A part of the site is broken until it is mended. */
const BROKEN = /^\/topics\/owls\/\d/;
const BROKEN_PAGE = `${SITE}/topics/owls/07.html`;
/** In the middle of the crawl, which asks for about 300 pages. */
const REQUESTS_UNTIL_KILL = 120;

/**
 * Plays it in an empty folder and returns the whole document.
 *
 * @throws {Error} where a program does not do its part
 */
export async function playStory(programs: Programs, folder: string): Promise<string> {
  const stage = new Stage(programs, folder);
  await stage.open();
  try {
    return render(await scenesOn(stage));
  } finally {
    await stage.close();
  }
}

async function scenesOn(stage: Stage): Promise<Scene[]> {
  const scenes: Scene[] = [];
  const tell = async (words: string, console: Promise<string>): Promise<void> => {
    scenes.push({ words, console: await console });
  };
  await tell(
    'A crawl of a site, a part of which is broken today. In the middle of it somebody kills it, in the way that leaves no time for anything.',
    stage.killedCrawl(),
  );
  await tell(
    'What was going on? This reads the folder and takes no lock, and would show the same beside a program that is at work.',
    stage.everpod('top', TASKS, '--once'),
  );
  await tell(
    'The same command again. It says first how the last run ended and what that left. What was done is not fetched again; what was in flight is.',
    stage.crawl(),
  );
  await tell(
    'Nothing is left to do, but some pages failed three times each. Errors that are alike are one class; `stuck` says how many of its tasks ' +
      'no loop hands out any more.',
    stage.everpod('errors', TASKS),
  );
  await tell('One of the sixteen, in full:', stage.everpod('explain', TASKS, BROKEN_PAGE));
  stage.mend();
  await tell(
    'Meanwhile the site has been mended. The tasks of that class, and no others, are put back:',
    stage.everpod('retry', TASKS, '--class', stage.classOf('Bad Gateway')),
  );
  await tell('And once more. Only those sixteen pages are fetched, and all are done.', stage.crawl());
  await tell('What is left of the errors:', stage.everpod('errors', TASKS));
  return scenes;
}

function render(scenes: readonly Scene[]): string {
  const head = `# A crawl that was killed

From a kill to the end, as it is seen in a terminal. This page is written by a program that does all of it, \`npm run transcript\`; a test does
it again and compares, with other numbers. [watching.md](watching.md) explains the pictures, [command-line.md](command-line.md) the commands.
`;
  const body = scenes.map(({ words, console }) => `${wrap(words)}\n\n\`\`\`console\n${console}\`\`\`\n`);
  return [head, ...body].join('\n');
}

function wrap(text: string): string {
  const lines = [''];
  for (const word of text.split(' ')) {
    const last = lines[lines.length - 1] as string;
    if (last !== '' && last.length + 1 + word.length > 120) lines.push(word);
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`;
  }
  return lines.join('\n');
}

/** Where it is played: starts the programs and writes down what a terminal would show. */
class Stage {
  readonly #programs: Programs;
  readonly #folder: string;
  #runs: number = 0;
  #server: Server | undefined;
  #requests: number = 0;
  #isBroken: boolean = true;
  #atMiddle: () => void = () => {};

  constructor(programs: Programs, folder: string) {
    this.#programs = programs;
    this.#folder = folder;
  }

  /** Serves the site. */
  async open(): Promise<void> {
    const server = await serve((request, response) => {
      this.#requests++;
      if (this.#requests === REQUESTS_UNTIL_KILL) this.#atMiddle();
      if (this.#isBroken && BROKEN.test(request.url ?? '')) return response.writeHead(502).end();
      // The page that never answers would only take time.
      if (request.url === '/trouble/never-answers.html') return response.writeHead(504).end();
      return site.handle(request, response);
    });
    const site = demoSite({ origin: server.origin });
    this.#server = server;
  }

  async close(): Promise<void> {
    await this.#server?.close();
  }

  mend(): void {
    this.#isBroken = false;
  }

  async crawl(): Promise<string> {
    return `$ ${CRAWL} ${SITE}/\n${await this.#start(this.#programs.crawl, [`${SITE}/`]).ended(0)}`;
  }

  async everpod(...args: string[]): Promise<string> {
    // That there are errors, and that a task will not be done, are answers, too.
    const expected = ['errors', 'explain'].includes(args[0] as string) ? 1 : 0;
    return `$ everpod ${args.join(' ')}\n${await this.#start(this.#programs.everpod, args).ended(expected)}`;
  }

  async killedCrawl(): Promise<string> {
    const crawl = this.#start(this.#programs.crawl, [`${SITE}/`]);
    const middle = new Promise<void>((resolve) => {
      this.#atMiddle = resolve;
    });
    await Promise.race([middle, crawl.gone]);
    crawl.kill();
    return `$ ${CRAWL} ${SITE}/ &\n${await crawl.ended('SIGKILL')}$ kill -9 %1\n`;
  }

  /** The id of the class of an error. */
  classOf(message: string): string {
    const tasks = ProgressTracker.open(join(this.#folder, this.#here(TASKS)), { mode: 'r' });
    const found = tasks.errorClasses().find((each) => each.message.includes(message));
    tasks.close();
    if (found === undefined) throw new Error(`No task failed with: ${message}`);
    return found.id;
  }

  /** With the port of today instead of the one that is told. */
  #here(words: string): string {
    return words.replaceAll('8080', this.#port);
  }

  get #port(): string {
    return new URL(this.#server?.origin ?? SITE).port;
  }

  #start([command = '', ...before]: readonly string[], given: readonly string[]) {
    const args = [...before, ...given.map((word) => this.#here(word))];
    // Both outputs go to one place, in the order in which a terminal would show them.
    const screen = join(this.#folder, `screen-${++this.#runs}`);
    const output = openSync(screen, 'w');
    const env = { ...process.env, NO_COLOR: '1', EVERPOD_CRAWL_DIR: '' };
    const child = spawn(command, args, { cwd: this.#folder, env, stdio: ['ignore', output, output] });
    closeSync(output);
    const end = new Promise<number | string | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => resolve(code ?? signal));
    });
    return {
      gone: end,
      kill: () => child.kill('SIGKILL'),
      ended: async (expected: number | string): Promise<string> => {
        const found = await end;
        const shown = readFileSync(screen, 'utf8')
          .replaceAll(` on ${hostname()},`, ' on laptop,')
          .replaceAll(new RegExp(`127\\.0\\.0\\.1([:_])${this.#port}`, 'g'), '127.0.0.1$18080');
        if (found !== expected) throw new Error(`${args.join(' ')} ended with ${found}:\n${shown}`);
        return shown;
      },
    };
  }
}
