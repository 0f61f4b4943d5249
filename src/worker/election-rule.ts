/** Who has won an election, as all who heard the same in the same order see it. */

export interface Candidate {
  readonly hostname: string
  /** Logical time. Of a worker of ours not above 0, which is before every Python worker's. */
  readonly clock: number
  /** `<hostname>.<pid>` */
  readonly node: string
  readonly topic: string
  readonly action: unknown
}

/** What is heard of an election: that somebody proposes itself, or that somebody has heard a proposal. */
export type Heard = Candidate | 'answer'

export const candidatesOf = (heard: readonly Heard[]): readonly Candidate[] => heard.filter((one) => one !== 'answer')

/**
 * The candidate of the smallest logical time; but when a Python worker has made up its mind before that one was heard, and for itself, it has won: it does what
 * it was elected for whatever others think. `others` is how many other workers each of them knows.
 */
export function leaderOf(heard: readonly Heard[], others: number): Candidate | undefined {
  const candidates = candidatesOf(heard)
  return candidates.find((candidate) => candidate.clock > 0 && choosesItself(candidate, heard, others)) ?? first(candidates)
}

/** A Python worker decides at as many answers as there are others, among those that it has heard by then. Of a single one it dies. */
function choosesItself(candidate: Candidate, heard: readonly Heard[], others: number): boolean {
  let answers = 0
  for (let at = heard.indexOf(candidate); at < heard.length; at++) {
    if (heard[at] === 'answer') answers++
    if (answers < others) continue
    const known = candidatesOf(heard.slice(0, at + 1))
    return known.length > 1 && first(known) === candidate
  }
  return false
}

function first(candidates: readonly Candidate[]): Candidate | undefined {
  return [...candidates].sort((a, b) => a.clock - b.clock || (a.node < b.node ? -1 : 1))[0]
}
