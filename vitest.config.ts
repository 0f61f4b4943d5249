import { defineConfig } from 'vitest/config'
import LongestFirst from './test/harness/longest-first.js'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    environment: 'node',
    globalSetup: ['test/shared-servers.ts'],
    // Processes, not threads: tests load native modules, send signals and change their working directory.
    pool: 'forks',
    // More than CPUs: the longest tests mostly wait for a server, a lease or a time.
    maxWorkers: 3,
    // Fault tests that run at once each have servers and workers of their own.
    maxConcurrency: 3,
    // The built package as Node itself loads it: one copy, whoever imports it.
    server: { deps: { external: [/\/dist\//] } },
    // A deadline for what hangs; tests wait for events and end long before it.
    testTimeout: 90_000,
    hookTimeout: 120_000,
    dangerouslyIgnoreUnhandledErrors: false,
    sequence: { shuffle: false, sequencer: LongestFirst },
  },
})
