import { Worker } from 'node:worker_threads'

/**
 * Kills this process when its parent is gone, even while its event loop is blocked: a thread looks at the parent's pid four times a second.
 * It costs about 9 MB of memory, so it is only for systems where the worker has no `Reaper`.
 */
export function dieWithParent(): void {
  // Asked here: by the time the thread runs, the parent may be gone already.
  const source = `
    const parent = ${process.ppid}
    setInterval(() => {
      if (process.ppid === parent) return
      try { process.kill(-process.pid, 'SIGKILL') } finally { process.kill(process.pid, 'SIGKILL') }
    }, 250)`
  new Worker(source, { eval: true, env: {}, resourceLimits: { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 16 } }).unref()
}

/** Ends this process and what it started, at once: nobody is left to report to. */
export function endProcessGroup(): never {
  try {
    // A child of the pool leads a process group of its own. On Windows there are none.
    process.kill(-process.pid, 'SIGKILL')
  } catch {
    process.kill(process.pid, 'SIGKILL')
  }
  process.exit(1)
}
