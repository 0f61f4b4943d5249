import type { AppCore } from '../app/core.js'
import type { Timer } from '../internal/clock.js'

const windowMs = 1_000

interface Window {
  readonly timer: Timer
  held: number
  last: string
}

/**
 * Tells of messages that go to the dead letters: one line for each kind of reason in a second, so that a flood of bad messages does not become a flood of
 * lines. How many were held back is told when the second is over.
 */
export class RefusalLog {
  readonly #core: Pick<AppCore, 'log' | 'clock'>
  readonly #windows = new Map<string, Window>()

  constructor(core: Pick<AppCore, 'log' | 'clock'>) {
    this.#core = core
  }

  /** `kind` is an error code: there are few of them. */
  tell(kind: string, fields: Readonly<Record<string, unknown>>, line: string): void {
    const window = this.#windows.get(kind)
    if (window !== undefined) {
      window.held++
      window.last = line
      return
    }
    this.#core.log.error(fields, line)
    this.#open(kind)
  }

  /** Tells now what was held back. */
  flush(): void {
    for (const [kind, window] of this.#windows) {
      window.timer.cancel()
      this.#windows.delete(kind)
      this.#tellHeld(window)
    }
  }

  #open(kind: string): void {
    const timer = this.#core.clock.setTimer(windowMs, () => {
      const window = this.#windows.get(kind)
      this.#windows.delete(kind)
      if (window === undefined || window.held === 0) return
      this.#tellHeld(window)
      this.#open(kind)
    })
    this.#windows.set(kind, { timer, held: 0, last: '' })
  }

  #tellHeld({ held, last }: Window): void {
    if (held > 0) this.#core.log.error({ count: held }, `${held} more like this; the last: ${last}`)
  }
}
