import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { testSize } from './test/size.ts';

/** Where the counts go as JSON, if anywhere. */
const reportFile = process.env.EVERPOD_TEST_REPORT || undefined;

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/canary.ts'],
    globalSetup: ['test/bundle.ts'],
    pool: 'forks',
    // Vitest leaves a core idle by default, which on two cores means one file at a time; many tests here wait for child processes, the big
    // sizes even more so.
    maxWorkers: Math.ceil(availableParallelism() * 1.5),
    testTimeout: testSize === 'small' ? 60_000 : 7_200_000,
    hookTimeout: testSize === 'small' ? 60_000 : 600_000,
    reporters: reportFile === undefined ? ['default'] : ['default', ['json', { outputFile: reportFile }]],
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts'],
      exclude: ['src/**/*.d.ts', 'src/**/types.ts'],
      reporter: ['text-summary', 'html', 'json-summary'],
      // The floors that hold other people's data. Each glob is counted for itself, so one folder cannot hide another.
      thresholds: {
        'src/core/**': { lines: 95 },
        'src/disk/**': { lines: 95 },
        'src/pod/**': { lines: 95 },
        'src/tracker/**': { lines: 95 },
      },
    },
  },
});
