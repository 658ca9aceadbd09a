import { describe, expect, it } from 'vitest';
import { run, start, temporaryFolder } from './run-example.ts';

describe('bulk-edit.ts', () => {
  it('does what its comments say, and starts the second time where the first ended', async () => {
    const cwd = temporaryFolder();
    const first = await run('bulk-edit.ts', ['shop'], { cwd });
    expect(first.stderr).toBe('');
    expect(first.stdout.split('\n').slice(1)).toEqual([
      'raised: 5000 entries changed and not yet synced',
      'synced: 0 entries not yet synced, product-5000 costs 5500.00',
      'planned: 4900 products left, all on sale',
      'reverted: 5000 products, product-5000 has 0 tags',
      'refused: product-1 would cost less than nothing; product-5000 still costs 5500.00',
      '',
    ]);
    const second = await run('bulk-edit.ts', ['shop'], { cwd });
    expect(second.code).toBe(0);
    expect(second.stdout).toContain('product-5000 costs 6050.00');
  });

  it('needs no folder', async () => {
    const cwd = temporaryFolder();
    // The temporary folder that it makes for itself goes when ours goes.
    const { code, stdout } = await run('bulk-edit.ts', [], { cwd, env: { TMPDIR: cwd } });
    expect(code).toBe(0);
    expect(stdout).toContain(`5000 products in ${cwd}`);
  });
});

describe('api-batch.ts', () => {
  const end = [
    'prompt-13 failed 3 times: 500 Internal Server Error',
    'prompt-17 was given up: the prompt is empty',
    '',
  ].join('\n');

  it('makes each call until it succeeds, and none again', async () => {
    const cwd = temporaryFolder();
    const first = await run('api-batch.ts', ['batch'], { cwd });
    expect(first.stderr).toBe('');
    // 60 prompts, six of which are refused once, and one that fails three times.
    expect(first.stdout).toBe(`0 of 60 done before, 60 to do\n68 calls made; 58 done, 1 aborted, 0 to do\n${end}`);
    const second = await run('api-batch.ts', ['batch'], { cwd });
    expect(second.stdout).toBe(`58 of 60 done before, 0 to do\n0 calls made; 58 done, 1 aborted, 0 to do\n${end}`);
  });

  it('carries on after a kill', async () => {
    const cwd = temporaryFolder();
    const running = start('api-batch.ts', ['batch'], { cwd });
    await running.said('to do');
    running.child.kill('SIGKILL');
    expect((await running.finished).signal).toBe('SIGKILL');
    const second = await run('api-batch.ts', ['batch'], { cwd });
    expect(second.code).toBe(0);
    expect(second.stdout).toContain('58 done, 1 aborted, 0 to do');
  });

  it('needs no folder', async () => {
    const cwd = temporaryFolder();
    expect((await run('api-batch.ts', [], { cwd, env: { TMPDIR: cwd } })).stdout).toContain('68 calls made');
  });
});
