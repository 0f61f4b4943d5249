import type { Clock, Timer } from '../internal/clock.js'
import type { Logger } from '../internal/logger.js'
import type { Pool } from '../pool.js'
import type { ActiveTask } from './active-task.js'

export interface Bounds {
  readonly min: number
  readonly max: number
}

interface AutoscalerParts {
  readonly bounds: Bounds
  readonly pool: Pool
  readonly clock: Clock
  readonly log: Logger
  /** Never rejects. */
  readonly resize: (size: number) => Promise<void>
  /** Tasks that the worker holds, running or not. */
  readonly held: () => readonly ActiveTask[]
}

const lookMs = 1_000
/** A pool that grew is not made smaller before. */
const keepMs = 30_000

/** Makes the pool as large as what the worker holds needs, within bounds: larger at once, smaller after half a minute with less to do. */
export class Autoscaler {
  readonly #parts: AutoscalerParts
  #bounds: Bounds
  #timer: Timer | undefined
  /** Monotonic ms at which the pool was last needed as large as it is. */
  #neededMs = 0

  constructor(parts: AutoscalerParts) {
    this.#parts = parts
    this.#bounds = parts.bounds
  }

  start(): void {
    this.#timer ??= this.#parts.clock.setTimer(lookMs, () => {
      this.#timer = undefined
      this.#look()
      this.start()
    })
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  info(): Readonly<Record<string, number>> {
    return { ...this.#bounds, current: this.#parts.pool.size, qty: this.#held() }
  }

  /** What is not given stays; a bound pushes the other where it must. */
  update({ min, max }: { readonly min: number | undefined; readonly max: number | undefined }): Bounds {
    const newMax = max ?? Math.max(this.#bounds.max, min ?? 0)
    this.#bounds = { max: newMax, min: Math.min(min ?? this.#bounds.min, newMax) }
    const { size } = this.#parts.pool
    const fitting = Math.min(newMax, Math.max(this.#bounds.min, size))
    if (fitting !== size) this.#resize(fitting)
    return this.#bounds
  }

  #look(): void {
    const { pool, clock } = this.#parts
    const wanted = Math.min(this.#bounds.max, Math.max(this.#bounds.min, this.#held()))
    const now = clock.monotonic()
    if (wanted >= pool.size) this.#neededMs = now
    if (wanted > pool.size) this.#resize(wanted)
    else if (wanted < pool.size && now - this.#neededMs >= keepMs) this.#resize(wanted)
  }

  /** Those that the pool's size is for: tasks of other parts have places of their own. */
  #held(): number {
    const { pool, held } = this.#parts
    const { parts } = pool
    return parts === undefined ? held().length : held().filter(({ head }) => parts.of(head.task) === parts.main).length
  }

  #resize(size: number): void {
    const { pool, log, resize } = this.#parts
    log.info(
      { from: pool.size, to: size },
      `Scaling ${size > pool.size ? 'up' : 'down'} to ${size} ${pool.supports.ownLoop ? 'children' : 'places'}.`,
    )
    void resize(size)
  }
}
