import { relative } from 'node:path'
import type { AppCore } from '../app/core.js'
import { showAddress } from '../internal/address.js'
import { formatDuration } from '../internal/duration.js'
import { concurrencyOf } from '../worker/concurrency.js'
import { furtherPools, type PoolKind } from '../worker/further-pools.js'

export interface BannerFacts {
  readonly core: AppCore
  readonly version: string
  readonly hostname: string
  /** Absolute. */
  readonly file: string
  readonly queues: readonly string[]
}

/** What a worker says of itself when it starts: Celery's block, and what looks wrong. */
export function banner({ core: { name, config, registry }, version, hostname, file, queues }: BannerFacts): string {
  const tasks = registry.names()
  const pools = [config.workerPool, ...furtherPools(registry, config.workerPool)]
  const { workerAutoscale: bounds } = config
  const places = (kind: PoolKind): string =>
    bounds !== null && kind === config.workerPool ? `${bounds.min}–${bounds.max}` : String(concurrencyOf(kind, config.workerConcurrency))
  const results = config.resultBackend === 'disabled' ? 'disabled' : showAddress(config.resultBackend)
  const expires = config.resultExpires === null ? 'never expire' : `expire after ${formatDuration(config.resultExpires)}`
  const facts = [
    ['app', `${name}  (./${relative(process.cwd(), file)})`],
    ['broker', config.brokerUrl.map(showAddress).join('; ')],
    ['results', results === 'disabled' ? results : `${results}  ${expires}`],
    ['pool', `${pools.map((kind) => `${kind} ×${places(kind)}`).join(', ')} · prefetch ${config.workerPrefetchMultiplier}`],
    ['queues', queues.join('  ')],
    ['tasks', shortList(tasks)],
  ]
  const problems =
    tasks.length === 0 ? ['! the app has no tasks: import the modules that define them from its file, or name them with -I'] : []
  return [
    `celeriac ${version}  worker ${hostname}  (pid ${process.pid})`,
    ...facts.map(([key, value]) => `  ${key?.padEnd(9)}${value}`),
    ...problems,
  ].join('\n')
}

function shortList(names: readonly string[]): string {
  const shown = names.slice(0, 12)
  return shown.length === names.length ? shown.join('  ') : `${shown.join('  ')}  (+${names.length - shown.length})`
}
