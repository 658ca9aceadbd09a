import { defineConfig } from 'vitest/config';

const long = process.env.EVERPOD_TEST_SIZE === 'long';
const reportFile = process.env.EVERPOD_TEST_REPORT;

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    testTimeout: long ? 3_600_000 : 30_000,
    hookTimeout: long ? 600_000 : 30_000,
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
