import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks'

const resolutionMs = 20

/** How late the event loop of this process has been. */
export class EventLoopLag {
  readonly #histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: resolutionMs })

  constructor() {
    this.#histogram.enable()
  }

  /** The longest delay since the last look, in seconds. */
  take(): number {
    const { max } = this.#histogram
    this.#histogram.reset()
    // Nothing was measured yet; and what is measured is the time from one timer to the next.
    return max === 0 ? 0 : Math.max(0, max / 1e9 - resolutionMs / 1000)
  }

  stop(): void {
    this.#histogram.disable()
  }
}
