import type { AppCore } from '../app/core.js'
import type { StopOptions } from '../app/worker-options.js'
import { atMost } from '../internal/at-most.js'
import type { Timer } from '../internal/clock.js'
import { toMs } from '../internal/duration.js'
import type { Pool } from '../pool.js'
import type { TaskConsumers } from './task-consumers.js'

/** From the abort of a task's signal at a cold stop to the end of its process. */
const abortGraceMs = 1_000
/** What was cut off has so long to be stored and given back. What is held then goes back with the connection. */
const settleMs = 1_000
/** What has run is settled; a broker or a result store that answers nothing for so long is given up. What is held then goes back with the connection, or when its lease ends. */
const silenceMs = 10_000

/**
 * How a worker ends:
 *
 *   warm ──────────────▶ what runs may finish ──────────────────────────────▶ done
 *   soft ──────────────▶ the same, for the grace ─┐
 *   cold ─────────────────────────────────────────┴▶ signals abort ─1 s─▶ processes are killed ─1 s─▶ done
 *
 * Never back: a stop that was asked for first is only ever made shorter.
 */
export class Shutdown {
  readonly #core: AppCore
  readonly #cold = new AbortController()
  #staysForGrace = false

  constructor(core: AppCore) {
    this.#core = core
  }

  get isCold(): boolean {
    return this.#cold.signal.aborted
  }

  /** Settles when it is. */
  get untilCold(): Promise<void> {
    return new Promise((resolve) => this.#whenCold(resolve))
  }

  /** Gives what takes the limit away again: to be called when the worker has stopped. */
  ask({ mode = 'warm', timeout }: StopOptions): Timer | undefined {
    const { clock, config } = this.#core
    if (mode === 'cold') this.cut()
    const softMs = mode === 'soft' ? config.workerSoftShutdownTimeout * 1000 : undefined
    const graceMs = timeout === undefined ? softMs : toMs(timeout, 'timeout')
    if (graceMs === undefined) return undefined
    if (mode === 'soft' && config.workerEnableSoftShutdownOnIdle) this.#staysForGrace = true
    return clock.setTimer(graceMs, () => this.cut(), { keepAlive: true })
  }

  cut(): void {
    this.#cold.abort()
  }

  /** Settles when nothing runs any more, and what ran is settled. Always ends, once it is cold. */
  async finish(pool: Pool | undefined, tasks: TaskConsumers): Promise<void> {
    const { clock } = this.#core
    const timers: Timer[] = []
    const after = (ms: number, then: () => void): void => void timers.push(clock.setTimer(ms, then, { keepAlive: true }))
    const killed = new AbortController()
    const givenUp = new Promise<void>((resolve) => {
      // Told to end first, then ended: a task that listens to its signal can leave things in order.
      this.#whenCold(() => {
        tasks.abortAll('shutdown')
        after(abortGraceMs, () => killed.abort())
        after(abortGraceMs + settleMs, resolve)
      })
    })
    await pool?.stop({ signal: killed.signal })
    await Promise.race([this.#settled(tasks), givenUp])
    for (const timer of timers) timer.cancel()
    if (this.#staysForGrace) await new Promise<void>((resolve) => this.#whenCold(resolve))
  }

  /** As long as there is progress. */
  async #settled(tasks: TaskConsumers): Promise<void> {
    for (let before = Number.POSITIVE_INFINITY; ; ) {
      const held = tasks.held.length
      if (held === 0 || held >= before) return
      before = held
      await atMost(this.#core.clock, silenceMs, tasks.idle())
    }
  }

  #whenCold(then: () => void): void {
    if (this.isCold) then()
    else this.#cold.signal.addEventListener('abort', then, { once: true })
  }
}
