/** The `threads` pool: tasks run in threads of the worker's process, each with a heap, an event loop and modules of its own. */
import { fileURLToPath } from 'node:url'
import { ChildPool, type ChildPoolOptions } from './child-pool.js'
import { ThreadLink } from './thread-link.js'

export interface ThreadPoolOptions extends ChildPoolOptions {
  /** The script that calls `serveThread`, and its arguments. */
  readonly entry: URL | string
  readonly args?: readonly string[]
  /** What the threads see as `process.env`: a copy for each. */
  readonly env: NodeJS.ProcessEnv
  /** `inherit`: what threads write to stdout and stderr is written by this process. Default `inherit`. */
  readonly output?: 'inherit' | 'ignore'
  /** A thread whose heap would be over so many MiB ends, and its task is lost. Default: as Node decides. */
  readonly maxHeapMb?: number
}

/** A child's memory is that of its heap, with the bytes of buffers. */
export class ThreadPool extends ChildPool {
  constructor(options: ThreadPoolOptions) {
    const { entry, args = [], env, output = 'inherit', maxHeapMb, childConcurrency = 1, maxMemoryPerChild, clock } = options
    const setup = { concurrency: childConcurrency, reportMemory: maxMemoryPerChild !== undefined }
    const script = entry instanceof URL ? fileURLToPath(entry) : entry
    super(
      { name: 'threads', open: (events) => new ThreadLink({ entry: script, args, env, output, maxHeapMb, setup, clock }, events) },
      options,
    )
  }
}
