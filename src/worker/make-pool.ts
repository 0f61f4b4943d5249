import type { AppCore } from '../app/core.js'
import type { WorkerOptions } from '../app/worker-handle.js'
import { NotSupportedError } from '../errors.js'
import { nodeName } from '../internal/node-name.js'
import type { Execute, Pool, PoolHost } from '../pool.js'
import type { ChildPoolOptions } from '../pools/child-pool.js'
import { concurrencyOf } from './concurrency.js'
import { checkPools, type PoolKind } from './pool-limits.js'

interface PoolMaker extends PoolHost {
  readonly execute: Execute
  onFatal(error: Error): void
}

/**
 * The pool that the options ask for; with the further ones that registered tasks name, as one. Their code is loaded here: most workers have one.
 *
 * @throws NotSupportedError when it cannot do what was asked for.
 */
export async function makePool(core: AppCore, options: WorkerOptions, maker: PoolMaker): Promise<Pool> {
  const { config, registry } = core
  const isFallback = options.pool === undefined && options.app === undefined && config.workerPool === 'prefork'
  const main = options.pool ?? (isFallback ? 'async' : config.workerPool)
  const named = registry.names().flatMap((name) => registry.need(name).options.pool ?? [])
  const others = [...new Set(named)].filter((kind) => kind !== main).sort()
  checkPools(core, options, { main, isFallback, others })
  const asked = options.concurrency ?? config.workerConcurrency
  const mainPool = await makeOne(main, config.workerAutoscale?.min ?? concurrencyOf(main, asked), core, options, maker)
  if (others.length === 0) return mainPool
  const { MixedPool } = await import('../pools/mixed.js')
  return new MixedPool({
    main: mainPool,
    others: await Promise.all(others.map((kind) => makeOne(kind, concurrencyOf(kind, asked), core, options, maker))),
    partOf: (task) => registry.get(task)?.options.pool,
  })
}

async function makeOne(kind: PoolKind, size: number, core: AppCore, options: WorkerOptions, maker: PoolMaker): Promise<Pool> {
  const { config, clock } = core
  const { execute, ...host } = maker
  const { workerMaxHeapPerChild: maxHeapKib } = config
  switch (kind) {
    case 'prefork': {
      const { ProcessPool } = await import('../pools/processes.js')
      return new ProcessPool({
        ...children(kind, size, core, options, maker),
        entry: new URL('./child.js', import.meta.url),
        args: [String(options.app), nodeName(options.hostname)],
        env: process.env,
        ...(maxHeapKib === null ? {} : { execArgv: [`--max-old-space-size=${Math.ceil(maxHeapKib / 1024)}`] }),
      })
    }
    case 'threads': {
      const { ThreadPool } = await import('../pools/threads.js')
      return new ThreadPool({
        ...children(kind, size, core, options, maker),
        entry: new URL('./thread.js', import.meta.url),
        args: [String(options.app), nodeName(options.hostname)],
        env: process.env,
        ...(maxHeapKib === null ? {} : { maxHeapMb: Math.ceil(maxHeapKib / 1024) }),
      })
    }
    case 'async':
    case 'solo': {
      const { InlinePool } = await import('../pools/inline.js')
      const maxBlockMs = (config.workerStuckTimeout ?? 0) * 1000
      return new InlinePool({ name: kind, concurrency: size, execute, host, clock, maxBlockMs })
    }
    default:
      return kind satisfies never
  }
}

/** What processes and threads have in common. */
function children(
  kind: PoolKind,
  size: number,
  { config, clock, log }: AppCore,
  options: WorkerOptions,
  { storeState, beforeProcess, onFatal }: PoolMaker,
): ChildPoolOptions {
  if (options.app === undefined)
    throw new NotSupportedError(
      `the ${kind} pool`,
      `its ${kind === 'prefork' ? 'child processes' : 'threads'} load the app from a file. Pass { app: import.meta.url } (or run: celeriac -A ./app.ts worker), or take pool: "async"`,
    )
  const maxTasksPerChild = options.maxTasksPerChild ?? config.workerMaxTasksPerChild
  const maxMemoryPerChild = options.maxMemoryPerChild ?? config.workerMaxMemoryPerChild
  return {
    size,
    childConcurrency: config.workerChildConcurrency,
    // With multiplier 1 a worker has no messages that it could send ahead.
    ...(config.workerOptimization === 'fair' || config.workerPrefetchMultiplier === 1 ? { pipelineDepth: 1 } : {}),
    ...(maxTasksPerChild === null ? {} : { maxTasksPerChild }),
    ...(maxMemoryPerChild === null ? {} : { maxMemoryPerChild }),
    host: { storeState, ...(beforeProcess === undefined ? {} : { beforeProcess }) },
    clock,
    log,
    onFatal,
  }
}
