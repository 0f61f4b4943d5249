import type { AppCore } from '../app/core.js'
import type { WorkerOptions } from '../app/worker-handle.js'
import { NotSupportedError } from '../errors.js'
import { nodeName } from '../internal/node-name.js'
import type { Execute, Pool, PoolHost } from '../pool.js'
import { concurrencyOf } from './concurrency.js'

/** The pool that the options ask for. Its code is loaded here: a worker has one. */
export async function makePool(
  core: AppCore,
  options: WorkerOptions,
  { execute, onFatal, ...host }: PoolHost & { execute: Execute; onFatal(error: Error): void },
): Promise<Pool> {
  const { config, clock, log } = core
  const kind = options.pool ?? (options.app === undefined && config.workerPool === 'prefork' ? 'async' : config.workerPool)
  const concurrency = config.workerAutoscale?.min ?? concurrencyOf(kind, options.concurrency ?? config.workerConcurrency)
  switch (kind) {
    case 'prefork': {
      if (options.app === undefined) {
        throw new NotSupportedError(
          'the prefork pool',
          'its child processes load the app from a file. Pass { app: import.meta.url } (or run: celeriac -A ./app.ts worker), or take pool: "async"',
        )
      }
      const { ProcessPool } = await import('../pools/processes.js')
      const maxTasksPerChild = options.maxTasksPerChild ?? config.workerMaxTasksPerChild
      const maxMemoryPerChild = options.maxMemoryPerChild ?? config.workerMaxMemoryPerChild
      return new ProcessPool({
        size: concurrency,
        entry: new URL('./child.js', import.meta.url),
        args: [String(options.app), nodeName(options.hostname)],
        env: process.env,
        childConcurrency: config.workerChildConcurrency,
        // With multiplier 1 a worker has no messages that it could send ahead.
        ...(config.workerOptimization === 'fair' || config.workerPrefetchMultiplier === 1 ? { pipelineDepth: 1 } : {}),
        ...(maxTasksPerChild === null ? {} : { maxTasksPerChild }),
        ...(maxMemoryPerChild === null ? {} : { maxMemoryPerChild }),
        host,
        clock,
        log,
        onFatal,
      })
    }
    case 'async':
    case 'solo': {
      const { InlinePool } = await import('../pools/inline.js')
      return new InlinePool({
        name: kind,
        concurrency,
        execute,
        host,
        clock,
        maxBlockMs: (config.workerStuckTimeout ?? 0) * 1000,
      })
    }
    case 'threads':
      throw new NotSupportedError('the threads pool', 'this version has prefork (processes), async and solo (in this process)')
    default:
      return kind satisfies never
  }
}
