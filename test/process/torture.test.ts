// The command with which users torture everpod on their own disk; and that it finds what it is there to find.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { witnessTasks } from '../../src/cli/torture-check.ts';
import { testSize } from '../size.ts';
import { useBench } from './built.ts';

const bench = useBench();
const SECONDS = { small: 1, ci: 60, long: 300 }[testSize];

describe('everpod torture', () => {
  it('holds, says so with numbers, and leaves nothing behind', async () => {
    const folder = bench.newPath('torture');
    const args = ['torture', folder, '--minutes', String(SECONDS / 60), '--seed', '11', '--json'];
    const { code, lines, stderr } = await bench.run('everpod', args);
    expect(stderr).toContain('seed 11');
    expect(lines).toHaveLength(1);
    const verdict = JSON.parse(lines[0] ?? '') as Record<string, unknown>;
    expect(verdict).toMatchObject({ held: true, seed: 11, findings: [] });
    expect(code).toBe(0);
    expect(verdict.kills).toBeGreaterThan(0);
    expect(verdict.acknowledged).toBeGreaterThan(0);
    expect(existsSync(folder)).toBe(false);
    const { kills, acknowledged, looks, seconds } = verdict as Record<string, number>;
    console.log(
      `# torture: ${kills} kills, ${acknowledged} acknowledged writes, ${looks} comparisons in ${seconds} s, seed 11`,
    );
  });

  it('gives its verdict in words', async () => {
    const { code, lines } = await bench.run('everpod', ['torture', bench.newPath('torture'), '--minutes', '0.01']);
    expect(lines.join('\n')).toMatch(
      /^Held: [\d,]+ kills?, [\d,]+ acknowledged writes?, .*nothing lost, nothing wrong\. Seed \d+\.$/,
    );
    expect(code).toBe(0);
  });

  it.each([
    ['a flipped bit in a shard', 'gzipped', /ERR_POD_CORRUPT/],
    ['the last batches gone', 'process', /is in no state that was written since step \d+, which was acknowledged/],
    ['one entry more', 'power', /"nobody wrote this" is there and should not be|is in no state/],
    ['an entry less, then back at the end', 'exit', /is in no state/],
    ['a claim forgotten', 'tracker', /tracker: .* has \d+ tries and should have \d+/],
  ])('D4: finds %s, and keeps the folder', async (damage, only, finding) => {
    const folder = bench.newPath('torture');
    const { lines, stderr } = await bench.run('tortured', [damage, folder, only]);
    expect(stderr).toBe('');
    expect(lines[0]).toBe('damaged, not held');
    expect(lines.slice(1).join('\n')).toMatch(finding);
    expect(readdirSync(folder)).not.toEqual([]);
  });

  it('believes no writer less because nobody listened to it for a while', async () => {
    const folder = bench.newPath('torture');
    const task = { kind: 'tracker', folder, against: 'kill', seed: 1, habits: 1, done: 0, options: {} };
    const program = [bench.built('test/process/children/everpod.js'), 'torture-writer', JSON.stringify(task)];
    const writer = spawn(process.execPath, program, { stdio: ['ignore', 'pipe', 'inherit'] });
    // It begins when the machine lets it.
    while (!existsSync(join(folder, 'pod.json')) && writer.exitCode === null) await sleep(20);
    await sleep(1_000);
    writer.kill('SIGKILL');
    const witness = witnessTasks();
    for await (const line of createInterface({ input: writer.stdout })) witness.hear(line);
    expect(witness.acknowledged).toBeGreaterThan(10);
    expect(witness.look(folder, 'r')).toBe(undefined);
  });

  it('touches no folder that is not empty, and refuses numbers that are none', async () => {
    const folder = bench.newPath('mine');
    mkdirSync(folder);
    writeFileSync(join(folder, 'thesis.txt'), 'all my work');
    const refused = await bench.run('everpod', ['torture', folder]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('ERR_POD_OPTIONS');
    expect(readdirSync(folder)).toEqual(['thesis.txt']);
    for (const option of ['--minutes=soon', '--minutes=-1', '--seed=', '--seed=1e99']) {
      const { code, stderr } = await bench.run('everpod', ['torture', bench.newPath('none'), option]);
      expect(stderr).toContain('ERR_POD_OPTIONS');
      expect(code).toBe(2);
    }
  });

  it('is in the help', async () => {
    const { lines } = await bench.run('everpod', ['--help']);
    expect(lines.join('\n')).toMatch(/^ {2}torture \[options\] <path>/m);
    expect(lines.join('\n')).not.toContain('torture-writer');
    const ofTorture = await bench.run('everpod', ['torture', '--help']);
    expect(ofTorture.lines.join('\n')).toMatch(/--minutes <n> .*--seed <n> /s);
  });
});
