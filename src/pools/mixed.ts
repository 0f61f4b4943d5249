/**
 * Several pools as one: a task may name where it runs. The worker sees one pool with the places of all; which part a request goes to, its task decides.
 * What a command changes (`resize`, and so autoscaling) is the main part, in which all tasks run that name none.
 */
import type { Pool, PoolParts, Run, TaskRequest } from '../pool.js'

export interface MixedPoolOptions {
  readonly main: Pool
  readonly others: readonly Pool[]
  /** The name of the part that a task runs in; undefined, or a name that no part has: the main one. */
  partOf(task: string): string | undefined
}

interface Part {
  readonly pool: Pool
  /** Requests that it has and that have not ended. */
  held: number
}

export class MixedPool implements Pool {
  readonly name: string
  readonly parts: PoolParts
  readonly restart?: () => Promise<void>
  readonly #main: Pool
  readonly #pools: readonly Pool[]
  readonly #partOf: (task: string) => Part

  constructor({ main, others, partOf }: MixedPoolOptions) {
    this.#main = main
    this.#pools = [main, ...others]
    const mainPart: Part = { pool: main, held: 0 }
    const parts = new Map(others.map((pool): [string, Part] => [pool.name, { pool, held: 0 }]))
    this.#partOf = (task) => parts.get(partOf(task) ?? '') ?? mainPart
    this.name = this.#pools.map((pool) => pool.name).join('+')
    this.parts = {
      main,
      all: this.#pools,
      of: (task) => this.#partOf(task).pool,
      isFull: (task) => {
        const { pool, held } = this.#partOf(task)
        return held >= pool.window
      },
    }
    const restarting = this.#pools.filter((pool) => pool.restart !== undefined)
    if (restarting.length > 0)
      this.restart = async () => {
        await Promise.all(restarting.map((pool) => pool.restart?.()))
      }
  }

  get supports(): Pool['supports'] {
    const all = this.#pools.map((pool) => pool.supports)
    return {
      timeLimit: all.every((one) => one.timeLimit),
      terminate: all.every((one) => one.terminate),
      ownLoop: all.every((one) => one.ownLoop),
      resize: this.#main.supports.resize,
    }
  }

  get capacity(): number {
    return sum(this.#pools, (pool) => pool.capacity)
  }

  get window(): number {
    return sum(this.#pools, (pool) => pool.window)
  }

  get size(): number {
    return this.#main.size
  }

  get pids(): readonly number[] {
    return [...new Set(this.#pools.flatMap((pool) => pool.pids))]
  }

  async start(): Promise<void> {
    await Promise.all(this.#pools.map((pool) => pool.start()))
  }

  run(request: TaskRequest): Run {
    const part = this.#partOf(request.task)
    part.held++
    const run = part.pool.run(request)
    // Before whoever has the run learns of its end, and asks for room.
    if (run.ended !== undefined) part.held--
    else void run.outcome.then(() => part.held--)
    return run
  }

  resize(size: number): Promise<void> {
    return this.#main.resize(size)
  }

  async stop(options: { readonly signal: AbortSignal }): Promise<void> {
    await Promise.all(this.#pools.map((pool) => pool.stop(options)))
  }
}

function sum(pools: readonly Pool[], of: (pool: Pool) => number): number {
  return pools.reduce((total, pool) => total + of(pool), 0)
}
