/** When something is due, as a pure function of time: what every kind of schedule is turned into before beat works with it. */
export interface Timetable {
  /** The first instant (ms since the epoch) after this one; undefined: never again. */
  next(afterMs: number): number | undefined
  /** `catchUp` below, where it can be had without going through all of them. */
  catchUp?(dueMs: number, nowMs: number, most: number): number[]
}

/** The first so many instants after this one. */
export function nextInstants(timetable: Timetable, afterMs: number, count: number): number[] {
  const instants: number[] = []
  for (let next = timetable.next(afterMs); next !== undefined && instants.length < count; next = timetable.next(next)) instants.push(next)
  return instants
}

const spansMs = [3_600_000, 86_400_000, 32 * 86_400_000, 367 * 86_400_000, Number.POSITIVE_INFINITY]

/** Of the instants from `dueMs` (itself one) up to now, the last ones, `most` at most. Costs about those, however long ago `dueMs` is. */
export function catchUp(timetable: Timetable, dueMs: number, nowMs: number, most: number): number[] {
  if (dueMs > nowMs) return []
  if (timetable.catchUp !== undefined) return timetable.catchUp(dueMs, nowMs, most)
  for (const span of spansMs) {
    const reachesDue = nowMs - span <= dueMs
    const found: number[] = []
    let instant: number | undefined = reachesDue ? dueMs : timetable.next(nowMs - span)
    while (instant !== undefined && instant <= nowMs) {
      found.push(instant)
      if (found.length > most) found.shift()
      instant = timetable.next(instant)
    }
    if (reachesDue || found.length >= most) return found
  }
  return []
}
