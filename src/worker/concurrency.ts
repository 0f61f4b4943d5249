import { availableParallelism } from 'node:os'
import type { Config } from '../app/config.js'

/** Calls that the async pool runs at the same time when nobody says how many: they wait for I/O most of their time. */
const asyncConcurrency = 100

/** How many tasks a pool of this kind runs at the same time: what the options say, else what suits the kind. */
export function concurrencyOf({ workerConcurrency }: Pick<Config, 'workerConcurrency'>, kind: Config['workerPool']): number {
  if (kind === 'solo') return 1
  return workerConcurrency ?? (kind === 'async' ? asyncConcurrency : availableParallelism())
}
