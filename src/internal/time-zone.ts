/** Wall clocks: from an instant to the time that a zone's clocks show, and back. A wall time is written as the ms of the same time in UTC. */

/** A constant offset from `fromMs` on, for all that is known of a day. */
interface Day {
  readonly offsetMs: number
  /** When the day's offset changes, and what it is from then on; the day itself has one change at most. */
  readonly change: { readonly atMs: number; readonly offsetMs: number } | undefined
}

const dayMs = 86_400_000
const daysKept = 2_000

/** What a wall time is: one instant, none (the clocks were put forward over it), or two (they were put back). */
export type Instants =
  | { readonly kind: 'once'; readonly ms: number }
  /** `ms`: when it would have been, had the clocks not been changed. */
  | { readonly kind: 'skipped'; readonly ms: number }
  | { readonly kind: 'twice'; readonly ms: number; readonly secondMs: number }

export class TimeZone {
  readonly name: string
  readonly #format: Intl.DateTimeFormat | undefined
  readonly #days = new Map<number, Day>()

  /** Throws RangeError for a name that is no IANA zone. */
  constructor(name: string) {
    const format = new Intl.DateTimeFormat('en-US', {
      timeZone: name,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    })
    this.name = format.resolvedOptions().timeZone
    this.#format = this.name === 'UTC' ? undefined : format
  }

  /** How far its clocks are ahead of UTC at an instant. */
  offsetAt(ms: number): number {
    if (this.#format === undefined) return 0
    const { offsetMs, change } = this.#day(Math.floor(ms / dayMs))
    return change === undefined || ms < change.atMs ? offsetMs : change.offsetMs
  }

  wallOf(ms: number): number {
    return ms + this.offsetAt(ms)
  }

  /** The next change of the clocks after an instant, if there is one before `untilMs`. */
  changeAfter(ms: number, untilMs: number): number | undefined {
    if (this.#format === undefined) return undefined
    for (let day = Math.floor(ms / dayMs); day * dayMs < untilMs; day++) {
      const { change } = this.#day(day)
      if (change !== undefined && change.atMs > ms && change.atMs < untilMs) return change.atMs
    }
    return undefined
  }

  instantsOf(wallMs: number): Instants {
    // A day before and after, so that both are outside any change at this wall time.
    const before = this.offsetAt(wallMs - dayMs)
    const after = this.offsetAt(wallMs + dayMs)
    if (before === after) return { kind: 'once', ms: wallMs - before }
    const early = wallMs - before
    const late = wallMs - after
    const isEarly = this.offsetAt(early) === before
    const isLate = this.offsetAt(late) === after
    if (isEarly && isLate) return { kind: 'twice', ms: Math.min(early, late), secondMs: Math.max(early, late) }
    if (isEarly) return { kind: 'once', ms: early }
    return isLate ? { kind: 'once', ms: late } : { kind: 'skipped', ms: early }
  }

  #day(day: number): Day {
    let known = this.#days.get(day)
    if (known !== undefined) return known
    const startMs = day * dayMs
    const endMs = startMs + dayMs
    const offsetMs = this.#ask(startMs)
    const endOffsetMs = this.#ask(endMs)
    known = {
      offsetMs,
      change: offsetMs === endOffsetMs ? undefined : { atMs: this.#search(startMs, endMs, offsetMs), offsetMs: endOffsetMs },
    }
    if (this.#days.size >= daysKept) this.#days.clear()
    this.#days.set(day, known)
    return known
  }

  /** The first ms with another offset. */
  #search(fromMs: number, toMs: number, offsetMs: number): number {
    let same = fromMs
    let other = toMs
    while (other - same > 1_000) {
      // Clocks are changed on a full second.
      const middle = Math.floor((same + other) / 2_000) * 1_000
      if (this.#ask(middle) === offsetMs) same = middle
      else other = middle
    }
    return other
  }

  #ask(ms: number): number {
    if (this.#format === undefined) return 0
    const seconds = Math.floor(ms / 1000) * 1000
    const part: Record<string, number> = {}
    for (const { type, value } of this.#format.formatToParts(seconds)) part[type] = Number(value)
    const { year = 1970, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = part
    return Date.UTC(year, month - 1, day, hour, minute, second) - seconds
  }
}
