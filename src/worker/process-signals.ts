import type { Worker } from '../app/worker-handle.js'
import type { Logger } from '../internal/logger.js'

/**
 * SIGTERM and the first SIGINT stop warm (soft, when `workerSoftShutdownTimeout` is set by the caller's mode); SIGQUIT and the second SIGINT stop cold.
 * Gives back the function that lets go of the signals.
 */
export function onProcessSignals(worker: Worker, log: Logger): () => void {
  let interrupted = false
  const stop = (mode: 'warm' | 'cold'): void => {
    worker.stop({ mode }).catch((error: unknown) => log.error({ err: error }, 'the worker could not stop in order'))
  }
  const handlers: Partial<Record<NodeJS.Signals, () => void>> = {
    SIGTERM: () => stop('warm'),
    SIGINT: () => {
      stop(interrupted ? 'cold' : 'warm')
      interrupted = true
    },
    SIGQUIT: () => stop('cold'),
  }
  const entries = Object.entries(handlers) as [NodeJS.Signals, () => void][]
  for (const [signal, handler] of entries) process.on(signal, handler)
  return () => {
    for (const [signal, handler] of entries) process.off(signal, handler)
  }
}
