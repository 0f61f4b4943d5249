import type { Clock } from '../internal/clock.js'
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
