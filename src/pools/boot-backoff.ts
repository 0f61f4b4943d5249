/** How long to wait before another process is started, after some that did not live: 0.1 s doubling to 10 s with jitter, and never over 5 in 10 s. */
export interface BootBackoffOptions {
  /** The first wait, ms; default 100. */
  readonly firstMs?: number
  /** The longest wait, ms; default 10 000. */
  readonly longestMs?: number
  /** This many failures in a row are an error of the app, not bad luck; default 5. */
  readonly attempts?: number
  /** No more than `attempts` in so many ms; default 10 000. */
  readonly windowMs?: number
}

export class BootBackoff {
  /** Failures since the last child that worked. */
  failures = 0
  /** The text of the first of them. */
  firstError: string | undefined
  readonly attempts: number
  readonly #options: Required<BootBackoffOptions>
  #failedAt: number[] = []

  constructor({ firstMs = 100, longestMs = 10_000, attempts = 5, windowMs = 10_000 }: BootBackoffOptions = {}) {
    this.#options = { firstMs, longestMs, attempts, windowMs }
    this.attempts = attempts
  }

  /** Counts a failure at `now` (monotonic ms) and says how long to wait. */
  failed(now: number, error: string): number {
    const { firstMs, longestMs, attempts, windowMs } = this.#options
    this.failures++
    this.firstError ??= error
    this.#failedAt = [...this.#failedAt, now].slice(-attempts)
    const [oldest] = this.#failedAt
    const windowLeftMs = this.#failedAt.length < attempts || oldest === undefined ? 0 : oldest + windowMs - now
    const backoffMs = Math.min(longestMs, firstMs * 2 ** (this.failures - 1))
    return Math.max(windowLeftMs, backoffMs * (0.5 + Math.random() / 2))
  }

  worked(): void {
    this.failures = 0
    this.firstError = undefined
  }
}
