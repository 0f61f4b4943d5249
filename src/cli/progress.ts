/** How far long work is, on stderr: a bar that is drawn over and over on a terminal, elsewhere a line now and then. */
import type { Clock, Timer } from '../internal/clock.js'

export interface ProgressOptions {
  readonly clock: Clock
  /** What is done: `replayed`. */
  readonly verb: string
  /** How many there are; undefined: nobody knows. */
  readonly total?: number | undefined
  /** `--quiet`: nothing is shown. */
  readonly quiet: boolean
}

const drawnMs = 100
const toldMs = 5_000
const width = 30

export class Progress {
  readonly #options: ProgressOptions
  readonly #startedMs: number
  readonly #isTerminal = process.stderr.isTTY === true
  #timer: Timer | undefined
  done = 0
  failed = 0

  constructor(options: ProgressOptions) {
    this.#options = options
    this.#startedMs = options.clock.monotonic()
    if (!options.quiet) this.#later()
  }

  /** Draws no more. */
  stop(): void {
    this.#timer?.cancel()
    if (this.#isTerminal && !this.#options.quiet) process.stderr.write('\r\u001b[K')
  }

  line(): string {
    const { verb, total, clock } = this.#options
    const seconds = (clock.monotonic() - this.#startedMs) / 1000
    const rate = seconds > 0 ? this.done / seconds : 0
    const left = total === undefined || rate === 0 ? undefined : Math.max(0, total - this.done - this.failed) / rate
    return [
      total === undefined ? '' : `${bar((this.done + this.failed) / Math.max(1, total))} `,
      `${this.done}${total === undefined ? '' : `/${total}`} ${verb}`,
      `, ${rate < 10 ? rate.toFixed(1) : Math.round(rate)}/s`,
      left === undefined ? '' : `, ${Math.ceil(left)} s left`,
      this.failed === 0 ? '' : `, ${this.failed} failed`,
    ].join('')
  }

  #later(): void {
    this.#timer = this.#options.clock.setTimer(this.#isTerminal ? drawnMs : toldMs, () => {
      process.stderr.write(this.#isTerminal ? `\r\u001b[K${this.line()}` : `${this.line()}\n`)
      this.#later()
    })
  }
}

function bar(part: number): string {
  const full = Math.round(Math.min(1, part) * width)
  return `[${'█'.repeat(full)}${'·'.repeat(width - full)}]`
}
