import type { Clock, Timer } from '../internal/clock.js'
import type { Leadership, ScheduleStore } from '../schedule-store.js'

export interface LeaderOptions {
  readonly owner: string
  readonly leaseMs: number
  readonly clock: Clock
}

/**
 * Whether this process leads. It believes so for somewhat less than a lease after it last asked, by its own monotonic clock and counted from before it asked:
 * a process that cannot reach the store stops before another can begin. One that was stopped meanwhile is held by the broker's fences.
 */
export class Leader {
  readonly #store: ScheduleStore
  readonly #options: LeaderOptions
  #trustedUntilMs = Number.NEGATIVE_INFINITY
  #token: number | undefined

  constructor(store: ScheduleStore, options: LeaderOptions) {
    this.#store = store
    this.#options = options
  }

  /** Undefined while another leads, or nobody knows. */
  get token(): number | undefined {
    return this.#options.clock.monotonic() < this.#trustedUntilMs ? this.#token : undefined
  }

  async ask(): Promise<Leadership> {
    const { owner, leaseMs, clock } = this.#options
    const askedAtMs = clock.monotonic()
    const leadership = await this.#store.lead(owner, leaseMs)
    this.#token = leadership.leads ? leadership.token : undefined
    this.#trustedUntilMs = leadership.leads ? askedAtMs + leaseMs - Math.min(1_000, leaseMs / 5) : Number.NEGATIVE_INFINITY
    return leadership
  }

  /** Goes on asking while something is under way that may take longer than a lease. */
  async during<T>(work: Promise<T>): Promise<T> {
    const { clock, leaseMs } = this.#options
    const token = this.#token
    let asking: Promise<void> | undefined
    let timer: Timer | undefined
    const arm = (): void => {
      timer = clock.setTimer(leaseMs / 3, () => {
        asking = this.#renew(token).finally(arm)
      })
    }
    arm()
    try {
      return await work
    } finally {
      // One that is asked for now must not come after a resign.
      timer?.cancel()
      await asking
      timer?.cancel()
    }
  }

  async #renew(token: number | undefined): Promise<void> {
    try {
      if (this.token === undefined) return
      await this.ask()
      // Another has led meanwhile.
      if (this.#token !== token) this.stepDown()
    } catch {
      // What is known of the lease counts until it is over.
    }
  }

  /** Believes no more that it leads: the store or the broker said so. */
  stepDown(): void {
    this.#token = undefined
    this.#trustedUntilMs = Number.NEGATIVE_INFINITY
  }

  async resign(): Promise<void> {
    this.stepDown()
    await this.#store.resign(this.#options.owner)
  }
}
