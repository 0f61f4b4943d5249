import { availableParallelism } from 'node:os'

/** Calls that the async pool runs at the same time when nobody says how many: they wait for I/O most of their time. */
const asyncConcurrency = 100

/** How many tasks a pool runs at the same time: what was asked for (`workerConcurrency`), else what suits the pool. */
export function concurrencyOf(pool: 'prefork' | 'threads' | 'async' | 'solo', asked: number | null): number {
  if (pool === 'solo') return 1
  return asked ?? (pool === 'async' ? asyncConcurrency : availableParallelism())
}
