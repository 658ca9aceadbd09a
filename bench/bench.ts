/**
 * `npm run bench`: what everpod costs on this machine, beside the raw limits measured in the same run.
 *
 * `-- --entries N` sets the size (default 200,000), `-- --quick` takes a tenth, `-- --write` puts the table of durability levels into
 * `docs/durability.md`.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { durabilityTable } from './durability.ts';
import { worksTable } from './works.ts';

const { values } = parseArgs({
  options: { entries: { type: 'string' }, quick: { type: 'boolean' }, write: { type: 'boolean' } },
});
const scale = values.quick === true ? 10 : 1;
const entries = Number(values.entries ?? 200_000 / scale);

const machine = `Node ${process.version}, ${process.platform} ${release()}, ${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown processor'}`;
console.log(`${machine}\n`);

const durability = await durabilityTable(20_000 / scale);
console.log(`${durability}\n`);
console.log(await worksTable(entries));

if (values.write === true) {
  const path = join(import.meta.dirname, '../docs/durability.md');
  const text = readFileSync(path, 'utf8');
  const marked = /<!-- bench:durability -->[\s\S]*<!-- \/bench:durability -->/;
  if (!marked.test(text)) throw new Error('docs/durability.md has no place for the table.');
  const block = `<!-- bench:durability -->\n\n${durability}\n\nMeasured with \`npm run bench -- --write\` on ${machine}.\n\n<!-- /bench:durability -->`;
  writeFileSync(path, text.replace(marked, block));
}
