import { MiddlewareError } from '../errors.js'
import type { Logger } from '../internal/logger.js'
import type { TaskContext } from './context.js'
import type { Instrument } from './instrument.js'
import type { Signals } from './signals.js'

/** Wraps sending and running. `publish` must call `next` once, or throw; `execute` at most once: a value that it returns without is the task's result. */
export interface Middleware {
  publish?(
    message: { task: string; args: unknown[]; kwargs: Record<string, unknown>; headers: Record<string, unknown> },
    next: () => Promise<void>,
  ): Promise<void>
  execute?(ctx: TaskContext, next: () => Promise<unknown>): Promise<unknown>
}

type Listener = (event: never) => unknown

/** The listeners and middleware of one app. */
export class Hooks {
  /** Lists are replaced, never changed: a listener may come or go while they are gone through. */
  readonly #listeners = new Map<keyof Signals, readonly Listener[]>()
  readonly #middleware: Middleware[] = []
  /** Undefined unless OpenTelemetry is there. */
  instrument: Instrument | undefined

  /** Gives back the function that stops listening. */
  on<E extends keyof Signals>(signal: E, listener: (event: Signals[E]) => unknown): () => void {
    this.#listeners.set(signal, [...(this.#listeners.get(signal) ?? []), listener])
    return () => this.off(signal, listener)
  }

  /** One time for each `on`. */
  off<E extends keyof Signals>(signal: E, listener: (event: Signals[E]) => unknown): void {
    const list = this.#listeners.get(signal) ?? []
    const at = list.indexOf(listener)
    if (at < 0) return
    if (list.length === 1) this.#listeners.delete(signal)
    else this.#listeners.set(signal, list.toSpliced(at, 1))
  }

  /** True when nobody listens: the caller need not build the event. */
  silent(signal: keyof Signals): boolean {
    return !this.#listeners.has(signal)
  }

  /** The event is made only when somebody listens. Never throws, and waits for nobody. */
  tell<E extends keyof Signals>(signal: E, log: Logger, event: () => Signals[E]): void {
    if (this.#listeners.has(signal)) this.emit(signal, event(), log)
  }

  emit<E extends keyof Signals>(signal: E, event: Signals[E], log: Logger): void {
    for (const listener of this.#listeners.get(signal) ?? []) {
      const failed = (error: unknown): void => log.error({ err: error, signal }, `a listener of ${signal} threw`)
      try {
        // The map's key says which event its listeners take.
        const settled = listener(event as never)
        if (typeof settled === 'object' && settled !== null) Promise.resolve(settled).catch(failed)
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
    const layers = this.#middleware.flatMap((middleware) => (middleware.publish === undefined ? [] : [middleware]))
    // What a layer gives is not looked at: one that gives nothing has not thereby left the sending to us.
    const step = async (index: number): Promise<void> => {
      const layer = layers[index]
      if (layer === undefined) return last()
      const rest = once(() => step(index + 1))
      await layer.publish?.(message, rest.next)
      await rest.ended()
    }
    return step(0)
  }

  /** Undefined when no middleware wraps runs: the caller runs the function itself. */
  execute(ctx: TaskContext, last: () => Promise<unknown>): Promise<unknown> | undefined {
    if (this.#middleware.length === 0) return undefined
    const layers = this.#middleware.flatMap((middleware) => (middleware.execute === undefined ? [] : [middleware]))
    if (layers.length === 0) return undefined
    const step = async (index: number): Promise<unknown> => {
      const layer = layers[index]
      if (layer === undefined) return last()
      const rest = once(() => step(index + 1))
      const value = await layer.execute?.(ctx, rest.next)
      await rest.ended()
      return value
    }
    return step(0)
  }
}

/** A second call would send, or run, the same task twice. `ended` waits for a middleware that does not: a call is over when its message is sent, a run when its function has ended. */
function once<T>(next: () => Promise<T>): { next(): Promise<T>; ended(): Promise<void> } {
  let called: Promise<T> | undefined
  return {
    next: async () => {
      if (called !== undefined) throw new MiddlewareError('a middleware called next() twice: the same task would be sent or run twice')
      called = next()
      return called
    },
    ended: async () => {
      // What it threw is the middleware's business, which had it before.
      await called?.catch(() => {})
    },
  }
}
