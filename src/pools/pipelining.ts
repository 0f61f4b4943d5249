/** When a child gets runs ahead of the one that it runs, by the average of its run times. */

/** Below it the way through the pipe is a large part of a run's time. */
const veryShortMs = 0.3
/** A run that is on for longer keeps those behind it waiting too long. */
export const shortMs = 10

/** How many runs a child may have: some ahead while they are very short, one ahead while they are short, so that it need not wait for the next. */
export function depthFor(averageMs: number, deepest: number): number {
  if (averageMs < veryShortMs) return deepest
  return averageMs < shortMs ? Math.min(2, deepest) : 1
}

/** How long the first run of a child may take before those behind it are run elsewhere. */
export function patienceFor(averageMs: number): number {
  return averageMs < shortMs ? Math.max(shortMs, 4 * averageMs) : shortMs
}
