/**
 * The candidate that `word` was most likely meant to be, or undefined when none is near. Case, `-` and `_` do not count. A third of the letters may be
 * wrong: enough for a typo, too few to turn one word into another; `atMost` allows fewer.
 */
export function didYouMean(
  word: string,
  candidates: Iterable<string>,
  { atMost = Number.POSITIVE_INFINITY }: { readonly atMost?: number } = {},
): string | undefined {
  const wanted = plain(word)
  let best: { readonly candidate: string; readonly distance: number } | undefined
  for (const candidate of candidates) {
    const other = plain(candidate)
    const distance = editDistance(wanted, other)
    const most = Math.min(atMost, Math.ceil(Math.max(wanted.length, other.length) / 3))
    if (distance <= most && (best === undefined || distance < best.distance)) best = { candidate, distance }
  }
  return best?.candidate
}

function plain(word: string): string {
  return word.toLowerCase().replaceAll(/[-_]/g, '')
}

/** Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` (optimal string alignment). */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1]
      let cost = Math.min(at(last, column) + 1, at(current, column - 1) + 1, at(last, column - 1) + (same ? 0 : 1))
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        cost = Math.min(cost, at(beforeLast, column - 2) + 1)
      }
      current.push(cost)
    }
    beforeLast = last
    last = current
  }
  return at(last, b.length)
}

function at(row: readonly number[], column: number): number {
  return row[column] ?? Number.POSITIVE_INFINITY
}
