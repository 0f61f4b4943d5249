import type { AppCore } from '../app/core.js'
import type { WorkerOptions } from '../app/worker-options.js'
import { NotSupportedError } from '../errors.js'
import { nodeName } from '../internal/node-name.js'
import type { Execute, Pool, PoolHost } from '../pool.js'
import type { ChildPoolOptions } from '../pools/child-pool.js'
import type { ThreadPoolOptions } from '../pools/threads.js'
import { concurrencyOf } from './concurrency.js'
import { furtherPools, type PoolKind } from './further-pools.js'
import { checkPools } from './pool-limits.js'

interface PoolParts {
  readonly core: AppCore
  readonly options: WorkerOptions
  readonly execute: Execute
  readonly host: PoolHost
  onFatal(error: Error): void
}

/**
 * The pool that the options ask for; with the further ones that registered tasks name, as one. Their code is loaded here: most workers have one.
 *
 * @throws NotSupportedError when it cannot do what was asked for.
 */
export async function makePool(
  core: AppCore,
  options: WorkerOptions,
  { execute, onFatal, ...host }: PoolHost & Pick<PoolParts, 'execute' | 'onFatal'>,
): Promise<Pool> {
  const { config, registry } = core
  const isFallback = options.pool === undefined && options.app === undefined && config.workerPool === 'prefork'
  const main = options.pool ?? (isFallback ? 'async' : config.workerPool)
  const others = furtherPools(registry, main)
  checkPools(core, options, { main, isFallback, others })
  const asked = options.concurrency ?? config.workerConcurrency
  const parts = { core, options, execute, host, onFatal }
  const mainPool = await makeOne(main, config.workerAutoscale?.min ?? concurrencyOf(main, asked), parts)
  if (others.length === 0) return mainPool
  const { MixedPool } = await import('../pools/mixed.js')
  return new MixedPool({
    main: mainPool,
    others: await Promise.all(others.map((kind) => makeOne(kind, concurrencyOf(kind, asked), parts))),
    partOf: (task) => registry.get(task)?.options.pool,
  })
}

async function makeOne(kind: PoolKind, size: number, parts: PoolParts): Promise<Pool> {
  const { core, execute, host } = parts
  const { workerMaxHeapPerChild: maxHeapKib, workerStuckTimeout } = core.config
  switch (kind) {
    case 'prefork': {
      const { ProcessPool } = await import('../pools/processes.js')
      const heap = maxHeapKib === null ? {} : { execArgv: [`--max-old-space-size=${Math.ceil(maxHeapKib / 1024)}`] }
      return new ProcessPool({ ...childrenOf(kind, size, parts), entry: new URL('./child.js', import.meta.url), ...heap })
    }
    case 'threads': {
      const { ThreadPool } = await import('../pools/threads.js')
      const heap = maxHeapKib === null ? {} : { maxHeapMb: Math.ceil(maxHeapKib / 1024) }
      return new ThreadPool({ ...childrenOf(kind, size, parts), entry: new URL('./thread.js', import.meta.url), ...heap })
    }
    case 'async':
    case 'solo': {
      const { InlinePool } = await import('../pools/inline.js')
      return new InlinePool({
        name: kind,
        concurrency: size,
        execute,
        host,
        clock: core.clock,
        maxBlockMs: (workerStuckTimeout ?? 0) * 1000,
      })
    }
    default:
      return kind satisfies never
  }
}

/** What processes and threads have in common. */
function childrenOf(
  kind: 'prefork' | 'threads',
  size: number,
  { core, options, host, onFatal }: PoolParts,
): ChildPoolOptions & Pick<ThreadPoolOptions, 'args' | 'env'> {
  const { config, clock, log } = core
  if (options.app === undefined)
    throw new NotSupportedError(
      `the ${kind} pool`,
      `its ${kind === 'prefork' ? 'child processes' : 'threads'} load the app from a file. Pass that file: { app: new URL("./tasks.ts", import.meta.url) } (or run: celeriac -A ./tasks.ts worker), or take pool: "async"`,
    )
  const maxTasksPerChild = options.maxTasksPerChild ?? config.workerMaxTasksPerChild
  const maxMemoryPerChild = options.maxMemoryPerChild ?? config.workerMaxMemoryPerChild
  return {
    size,
    args: [String(options.app), nodeName(options.hostname)],
    env: process.env,
    childConcurrency: config.workerChildConcurrency,
    // With multiplier 1 a worker has no messages that it could send ahead.
    ahead: config.workerPrefetchMultiplier === 1 ? 'none' : config.workerOptimization === 'fair' ? 'in pool' : 'in children',
    ...(maxTasksPerChild === null ? {} : { maxTasksPerChild }),
    ...(maxMemoryPerChild === null ? {} : { maxMemoryPerChild }),
    host,
    clock,
    log,
    onFatal,
  }
}
