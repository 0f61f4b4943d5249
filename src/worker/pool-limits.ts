/** What was asked of a worker that its pools cannot do: refused at the start, or told where it still means something. */
import type { AppCore } from '../app/core.js'
import type { WorkerOptions } from '../app/worker-options.js'
import { NotSupportedError } from '../errors.js'
import { isTaskProcess } from '../internal/task-process.js'
import type { PoolKind } from './further-pools.js'

/** Tasks of these run in children that can be killed and replaced. */
const hasChildren = (kind: PoolKind): boolean => kind === 'prefork' || kind === 'threads'

export interface ChosenPools {
  readonly main: PoolKind
  /** Nobody chose the main one: there is no file to load the app from, and so no children. */
  readonly isFallback: boolean
  readonly others: readonly PoolKind[]
}

const noChildren = 'it runs tasks in the process of the worker, where nothing can be replaced. Take prefork or threads'

/** Children load the app's file: one that starts a worker would start another in each child, and that one its own, without end. Throws NotSupportedError. */
export function refuseInChild({ app }: WorkerOptions): void {
  if (app === undefined || !isTaskProcess()) return
  throw new NotSupportedError(
    'starting a worker in a child of another one',
    `the children of a worker load ${String(app)}, which starts it again. Keep app and tasks in a file of their own, and give that one: { app: new URL("./tasks.ts", import.meta.url) }`,
  )
}

/** Throws NotSupportedError for what would be ignored; warns of what is done in another way, and of what no pool of a fallback does. */
export function checkPools(core: AppCore, options: WorkerOptions, { main, isFallback, others }: ChosenPools): void {
  const { config, log } = core
  const refuse = (option: string, reason: string): never => {
    throw new NotSupportedError(`the option ${option} with the ${main} pool`, reason)
  }
  if (main === 'solo') {
    if (config.workerAutoscale !== null) refuse('workerAutoscale', 'it runs one task at a time. Take another pool, or leave it out')
    if ((options.concurrency ?? 1) > 1) refuse('concurrency', 'it runs one task at a time. Take async for several in this process')
    if (options.concurrency === undefined && (config.workerConcurrency ?? 1) > 1)
      log.warn({}, `the solo pool runs one task at a time: workerConcurrency ${config.workerConcurrency} is not kept to`)
  }
  if (![main, ...others].some(hasChildren)) {
    for (const option of ['maxTasksPerChild', 'maxMemoryPerChild'] as const) if (options[option] !== undefined) refuse(option, noChildren)
    for (const option of [
      'workerMaxTasksPerChild',
      'workerMaxMemoryPerChild',
      'workerMaxHeapPerChild',
      'workerChildConcurrency',
    ] as const) {
      const value = config[option]
      if (value === null || (option === 'workerChildConcurrency' && value === 1)) continue
      if (isFallback) log.warn({}, `the option ${option} is without effect in the ${main} pool, which has no children: ${noFile}`)
      else
        refuse(
          option,
          `${noChildren}, or turn it off for this worker (${option === 'workerChildConcurrency' ? 1 : 'null, or none as a flag'})`,
        )
    }
  }
  if ([main, ...others].some(hasChildren) && config.brokerUrl.some((url) => typeof url === 'string' && /^memory:/i.test(url)))
    log.warn(
      {},
      'memory:// is a broker of this process and thread alone: what tasks in child processes or threads send stays there. Take sqlite://',
    )
  const unkillable = timeLimited(core, main)
  if (unkillable.length > 0)
    log.warn(
      { tasks: unkillable },
      `the worker's own process cannot be killed: in it, the time limit of ${unkillable.join(', ')} only aborts the task's signal, as the soft one does`,
    )
}

const noFile = 'prefork and threads load the app from a file ({ app })'

/** Tasks with a hard time limit that run in this process. */
function timeLimited({ registry, config }: AppCore, main: PoolKind): readonly string[] {
  const here = registry
    .names()
    .map((name) => registry.need(name).options)
    .some(({ pool = main }) => !hasChildren(pool))
  if (config.taskTimeLimit !== null && here) return ['all tasks (taskTimeLimit)']
  return registry.names().filter((name) => {
    const { pool = main, timeLimit } = registry.need(name).options
    return timeLimit !== undefined && !hasChildren(pool)
  })
}
