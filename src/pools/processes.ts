/** The `prefork` pool: tasks run in child processes. */
import { fileURLToPath } from 'node:url'
import { ChildPool, type ChildPoolOptions } from './child-pool.js'
import { ProcessLink } from './process-link.js'
import { Reaper } from './reaper.js'

export interface ProcessPoolOptions extends ChildPoolOptions {
  /** The script that calls `serveChild`, and its arguments. */
  readonly entry: URL | string
  readonly args?: readonly string[]
  /** Options of node itself, such as `--max-old-space-size=256`. Default: none. */
  readonly execArgv?: readonly string[]
  /** The whole environment of the children. */
  readonly env: NodeJS.ProcessEnv
  /** Where the children's stdout and stderr go. Default `inherit`. */
  readonly output?: 'inherit' | 'ignore'
}

/** Its memory is a child's RSS. */
export class ProcessPool extends ChildPool {
  constructor(options: ProcessPoolOptions) {
    const { entry, args = [], execArgv = [], env, output = 'inherit', childConcurrency = 1, maxMemoryPerChild, clock } = options
    const reaper = new Reaper()
    const setup = {
      t: 'setup',
      concurrency: childConcurrency,
      reportMemory: maxMemoryPerChild !== undefined,
      watchParent: !Reaper.available && process.platform !== 'win32',
    } as const
    const script = entry instanceof URL ? fileURLToPath(entry) : entry
    super(
      {
        name: 'prefork',
        open: (events) => new ProcessLink({ entry: script, args, execArgv, env, output, setup, clock }, events),
        changed: (children) => reaper.watch(children.filter((child) => child.pid !== 0).map((child) => child.pid)),
        stop: () => reaper.stop(),
      },
      options,
    )
  }
}
