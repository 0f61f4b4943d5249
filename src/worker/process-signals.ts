import type { AppCore } from '../app/core.js'
import type { Worker } from '../app/worker-handle.js'

/**
 * SIGTERM, SIGHUP (its terminal is closed) and the first SIGINT stop warm. SIGQUIT and the second SIGINT stop cold, after the grace of
 * `workerSoftShutdownTimeout` if there is one (`soft`); one more of them stops cold at once. With `workerRemapSigterm`, SIGTERM is a SIGQUIT. Gives back the
 * function that lets go of the signals.
 */
export function onProcessSignals(worker: Worker, { log, config }: Pick<AppCore, 'log' | 'config'>): () => void {
  let interrupted = false
  let isSoft = false
  const stop = (mode: 'warm' | 'soft' | 'cold'): void => {
    worker.stop({ mode }).catch((error: unknown) => log.error({ err: error }, 'the worker could not stop in order'))
  }
  const cut = (): void => {
    const grace = isSoft ? 0 : config.workerSoftShutdownTimeout
    isSoft = true
    stop(grace > 0 ? 'soft' : 'cold')
    if (grace > 0) log.warn({}, `Soft shutdown: running tasks have ${grace} s, then they go back to their queue`)
    else log.warn({}, 'Cold shutdown: running tasks go back to their queue')
  }
  const handlers: Partial<Record<NodeJS.Signals, () => void>> = {
    SIGTERM: () => (config.workerRemapSigterm === 'SIGQUIT' ? cut() : stop('warm')),
    SIGINT: () => {
      if (interrupted) return cut()
      interrupted = true
      stop('warm')
      log.info({}, 'Warm shutdown: running tasks may finish. Ctrl-C again gives them back to their queue')
    },
    SIGQUIT: cut,
    SIGHUP: () => stop('warm'),
  }
  const entries = Object.entries(handlers) as [NodeJS.Signals, () => void][]
  for (const [signal, handler] of entries) process.on(signal, handler)
  return () => {
    for (const [signal, handler] of entries) process.off(signal, handler)
  }
}
