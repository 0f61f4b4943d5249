/** After so long a pause nobody else is expected. */
const pauseMs = 5

/**
 * When to do together what comes together: at the end of a turn of the event loop. The first after a pause waits for nobody but the code that runs at the moment:
 * before a turn ends, the loop looks at every socket and timer, which a lone message would pay for. Not for what goes out over a socket: one that was reset is seen
 * by that look, and what is written on it all the same may have been sent, for all its sender knows.
 */
export class EndOfTurn {
  #lastMs = Number.NEGATIVE_INFINITY
  /** Once in each turn at most: what calls again and again would let nothing else come to its turn. */
  #mayHurry = true

  /** Calls back once. */
  call(work: () => void): void {
    const nowMs = performance.now()
    const hurries = this.#mayHurry && nowMs - this.#lastMs >= pauseMs
    this.#lastMs = nowMs
    if (!hurries) {
      setImmediate(work)
      return
    }
    this.#mayHurry = false
    setImmediate(() => {
      this.#mayHurry = true
    })
    // Behind every promise that is settled by now, as at the end of a turn.
    queueMicrotask(() => process.nextTick(work))
  }
}
