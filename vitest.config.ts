import { defineConfig } from 'vitest/config'
import LongestFirst from './test/harness/longest-first.js'

/**
 * Files that start no process and no server, and change nothing of their process: they run in one, one after the other, which saves each a process and the loading
 * of the package. Whatever else a file does, it belongs to the others.
 */
const together = [
  'test/app/{calling,canvas,canvas-eager,connections,dead-letters,eager,group-result,retries,routes,window}.test.ts',
  'test/beat/{beat,broker,clock,overlap,run-time,schedules}.test.ts',
  'test/canvas/{planner,signature,stamping}.test.ts',
  'test/events/*.test.ts',
  'test/internal/*.test.ts',
  'test/internal/{amqp/amqp-url,redis/redis-url}.test.ts',
  'test/limits/stores.test.ts',
  'test/pools/{frames,inline,mixed}.test.ts',
  'test/protocol/*.test.ts',
  'test/serializers/{conformance,json,serializers}.test.ts',
  'test/testing/*.test.ts',
  'test/transports/{amqp/settlements,redis/layout,redis/option-table}.test.ts',
  'test/worker/{canvas,canvas-again,canvas-ends,canvas-replace,control,deaf-watch,hooks,queue-pauses,rate-limits,revoke-stamps,signed,task-events}.test.ts',
]

export default defineConfig({
  test: {
    projects: [
      { extends: true, test: { name: 'alone', include: ['test/**/*.test.ts'], exclude: together } },
      { extends: true, test: { name: 'together', include: together, isolate: false } },
    ],
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
