import { MiddlewareError } from '../errors.js'
import type { Logger } from '../internal/logger.js'
import type { TaskContext } from './context.js'

/** Events of the program itself, under Celery's signal names. A listener can look, not change: what it throws is logged and forgotten. */
export interface Signals {
  /** In the process that sends, before the message goes to the broker. */
  beforeTaskPublish: { task: string; id: string; headers: Readonly<Record<string, unknown>> }
  /** In the process that sends, after the broker has confirmed. */
  afterTaskPublish: { task: string; id: string }
  /** In the process that runs the task, from here on. */
  taskPrerun: { task: string; id: string }
  taskPostrun: { task: string; id: string; state: string }
  taskSuccess: { task: string; id: string; result: unknown }
  taskFailure: { task: string; id: string; error: unknown }
  taskRetry: { task: string; id: string; error: unknown }
  /** In the worker's main process, from here on. */
  taskReceived: { task: string; id: string }
  taskRevoked: { task: string; id: string; reason: string }
  workerReady: { hostname: string }
  workerShutdown: { hostname: string }
}

/** Wraps sending and running. `publish` must call `next` once, or throw; `execute` at most once: a value that it returns without is the task's result. */
export interface Middleware {
  publish?(
    message: { task: string; args: unknown[]; kwargs: Record<string, unknown>; headers: Record<string, unknown> },
    next: () => Promise<void>,
  ): Promise<void>
  execute?(ctx: TaskContext, next: () => Promise<unknown>): Promise<unknown>
}

type Listener = (event: never) => void | Promise<void>

/** The listeners and middleware of one app. */
export class Hooks {
  readonly #listeners = new Map<keyof Signals, Listener[]>()
  readonly #middleware: Middleware[] = []

  /** Gives back the function that stops listening. */
  on<E extends keyof Signals>(signal: E, listener: (event: Signals[E]) => void | Promise<void>): () => void {
    const list = this.#listeners.get(signal) ?? []
    this.#listeners.set(signal, list)
    list.push(listener as Listener)
    return () => {
      list.splice(list.indexOf(listener as Listener), 1)
      if (list.length === 0) this.#listeners.delete(signal)
    }
  }

  /** True when nobody listens: the caller need not build the event. */
  silent(signal: keyof Signals): boolean {
    return !this.#listeners.has(signal)
  }

  emit<E extends keyof Signals>(signal: E, event: Signals[E], log: Logger): void {
    for (const listener of this.#listeners.get(signal) ?? []) {
      const failed = (error: unknown): void => log.error({ err: error, signal }, `a listener of ${signal} threw`)
      try {
        // The map's key says which event its listeners take.
        const settled = listener(event as never)
        if (settled instanceof Promise) settled.catch(failed)
      } catch (error) {
        failed(error)
      }
    }
  }

  use(middleware: Middleware): void {
    this.#middleware.push(middleware)
  }

  get publishes(): boolean {
    return this.#middleware.some((middleware) => middleware.publish !== undefined)
  }

  /** The first one used is the outermost. */
  async publish(message: Parameters<NonNullable<Middleware['publish']>>[0], last: () => Promise<void>): Promise<void> {
    const layers = this.#middleware.filter((middleware) => middleware.publish !== undefined)
    const step = (index: number): Promise<void> =>
      layers[index]?.publish?.(
        message,
        once(() => step(index + 1)),
      ) ?? last()
    return step(0)
  }

  /** Undefined when no middleware wraps runs: the caller runs the function itself. */
  execute(ctx: TaskContext, last: () => Promise<unknown>): Promise<unknown> | undefined {
    if (this.#middleware.length === 0) return undefined
    const layers = this.#middleware.filter((middleware) => middleware.execute !== undefined)
    if (layers.length === 0) return undefined
    const step = (index: number): Promise<unknown> =>
      layers[index]?.execute?.(
        ctx,
        once(() => step(index + 1)),
      ) ?? last()
    return step(0)
  }
}

/** A second call would send, or run, the same task twice. */
function once<T>(next: () => Promise<T>): () => Promise<T> {
  let called = false
  return async () => {
    if (called) throw new MiddlewareError('a middleware called next() twice: the same task would be sent or run twice')
    called = true
    return next()
  }
}
