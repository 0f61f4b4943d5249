/** Time as a dependency: what depends on time takes a clock, so that tests can move it. */
export interface Clock {
  /** Wall clock, ms since the epoch. For calendar times (eta, expires) only. */
  now(): number
  /** Monotonic clock, ms from any start. For durations and deadlines. */
  monotonic(): number
  /** Calls back once after `ms`, however long that is. The timer does not keep the process alive unless `keepAlive` is set. */
  setTimer(ms: number, callback: () => void, options?: { readonly keepAlive?: boolean }): Timer
}

export interface Timer {
  cancel(): void
}

// setTimeout fires at once for delays over 2^31-1 ms: longer ones are chained.
const longestMs = 2 ** 30

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimer(ms, callback, { keepAlive = false } = {}) {
    let timeout: NodeJS.Timeout
    const arm = (leftMs: number): void => {
      const step = Math.min(Math.max(0, leftMs), longestMs)
      timeout = setTimeout(() => (leftMs > step ? arm(leftMs - step) : callback()), step)
      if (!keepAlive) timeout.unref()
    }
    arm(ms)
    return { cancel: () => clearTimeout(timeout) }
  },
}
