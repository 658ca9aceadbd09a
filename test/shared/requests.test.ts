// What the next owner believes of the journal: all but the last line, and that one where the pod shows that its batch was written.
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { nodeSystem } from '../../src/disk/system.ts';
import type { Key } from '../../src/index.ts';
import { Group, Requests, type Witnessed } from '../../src/shared/requests.ts';
import { useHandles } from './handles.ts';

const handles = useHandles();
const { fs } = nodeSystem;

/** A folder in which an owner answered one question, and then a second one that changed `n` from 1 to 2, and was killed. */
function killed(): { folder: string; pod: Map<Key, number> & Witnessed } {
  const folder = handles.path();
  mkdirSync(folder);
  const pod = Object.assign(new Map<Key, number>([['n', 0]]), {
    textOf: (key: Key): string | undefined => pod.get(key)?.toString(),
  });
  const requests = Requests.open(fs, folder, pod, true);
  const step = (number: number, value: number): void => {
    const group = new Group(pod, requests.memory);
    group.touch('n');
    pod.set('n', value);
    group.note(['join', 'me', process.pid]);
    group.note(['answer', 'me', number, `[${number},0,${value}]`]);
    group.note(['claim', `token-${number}`, 'me', `key-${number}`]);
    requests.keep(group);
  };
  step(1, 1);
  step(2, 2);
  return { folder, pod };
}

function recalled(folder: string, pod: Witnessed): { answers: [number, string][]; claims: string[] } {
  const { memory } = Requests.open(fs, folder, pod, true);
  return { answers: [...(memory.clients.get('me')?.answers ?? [])], claims: [...memory.claims.keys()] };
}

describe('the journal of an owner', () => {
  const first: [number, string] = [1, '[1,0,1]'];

  it('K2: is believed whole where the last batch is in the log', () => {
    const { folder, pod } = killed();
    expect(recalled(folder, pod)).toEqual({ answers: [first, [2, '[2,0,2]']], claims: ['token-1', 'token-2'] });
  });

  it('K2: is believed but for its last line where that batch is not in the log, also by the owner after the next', () => {
    const { folder, pod } = killed();
    pod.set('n', 1);
    const expected = { answers: [first], claims: ['token-1'] };
    expect(recalled(folder, pod)).toEqual(expected);
    expect(recalled(folder, pod)).toEqual(expected);
  });

  it('says that nobody knows where somebody else changed the entry since', () => {
    const { folder, pod } = killed();
    pod.set('n', 9);
    const { answers, claims } = recalled(folder, pod);
    expect(answers).toEqual([first, [2, expect.stringContaining('ERR_POD_UNCERTAIN')]]);
    expect(claims).toEqual(['token-1']);
  });

  /** A third group that changes two entries, the first of them to `n`. */
  function withThird(n: number): ReturnType<typeof killed> {
    const { folder, pod } = killed();
    const requests = Requests.open(fs, folder, pod, true);
    const group = new Group(pod, requests.memory);
    group.touch('n');
    pod.set('n', 3);
    group.touch('other');
    pod.set('other', 1).set('n', n);
    group.note(['answer', 'me', 3, '[3,0]']);
    requests.keep(group);
    return { folder, pod };
  }

  it('has one witness for a group of several entries', () => {
    const { folder, pod } = withThird(3);
    expect(recalled(folder, pod).answers.at(-1)).toEqual([3, '[3,0]']);
  });

  it('has one witness for a group of several entries, also where that is not in the log', () => {
    const { folder, pod } = withThird(3);
    pod.set('n', 2).delete('other');
    expect(recalled(folder, pod).answers.at(-1)).toEqual([2, '[2,0,2]']);
  });

  it('has another witness where the first entry was changed back', () => {
    const { folder, pod } = withThird(2);
    expect(recalled(folder, pod).answers.at(-1)).toEqual([3, '[3,0]']);
  });

  it('has another witness where the first entry was changed back, also where that is not in the log', () => {
    const { folder, pod } = withThird(2);
    pod.delete('other');
    expect(recalled(folder, pod).answers.at(-1)).toEqual([2, '[2,0,2]']);
  });

  it('is believed but for a line that was not finished', () => {
    const { folder, pod } = killed();
    appendFileSync(join(folder, 'shared-requests.jsonl'), '{"f":[["answer","me",3,');
    expect(recalled(folder, pod).answers).toHaveLength(2);
  });

  it('counts for nobody after another start of the machine', () => {
    const { folder, pod } = killed();
    const file = join(folder, 'shared-requests.jsonl');
    writeFileSync(file, readFileSync(file, 'utf8').replace(/^.*/, 'another start'));
    expect(recalled(folder, pod)).toEqual({ answers: [], claims: [] });
  });

  it('forgets what was acknowledged, and takes back what a group did that failed', () => {
    const { folder, pod } = killed();
    const { memory } = Requests.open(fs, folder, pod, true);
    memory.acknowledge('me', 1);
    expect([...(memory.clients.get('me')?.answers.keys() ?? [])]).toEqual([2]);
    const group = new Group(pod, memory);
    const before = JSON.stringify([...memory.facts()]);
    for (const fact of [
      ['end', 'token-1'],
      ['claim', 'token-3', 'you', 'key-1'],
      ['lock', 'you'],
      ['gone', 'me'],
    ] as const) {
      group.note(fact);
    }
    expect(JSON.stringify([...memory.facts()])).not.toBe(before);
    group.undo();
    expect(new Set([...memory.facts()].map((fact) => JSON.stringify(fact)))).toEqual(
      new Set((JSON.parse(before) as unknown[]).map((fact) => JSON.stringify(fact))),
    );
    expect(memory.claimOf('key-1')?.token).toBe('token-1');
  });

  it('is written anew when it has grown, and says the same', () => {
    const { folder, pod } = killed();
    const requests = Requests.open(fs, folder, pod, true);
    const group = new Group(pod, requests.memory);
    for (let number = 3; number < 4000; number++)
      group.note(['answer', 'me', number, `[${number},0,"${'x'.repeat(400)}"]`]);
    requests.keep(group);
    requests.memory.acknowledge('me', 3998);
    const file = join(folder, 'shared-requests.jsonl');
    const before = readFileSync(file).length;
    requests.tidy();
    expect(readFileSync(file).length).toBeLessThan(before / 100);
    expect(recalled(folder, pod).answers.map(([number]) => number)).toEqual([3999]);
  });
});
