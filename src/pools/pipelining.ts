/** When a child gets runs ahead of the one that it runs, by the average of its run times. */

/** A run that is on for longer keeps those behind it waiting too long. */
const shortMs = 15
/** While a child has work for longer, what it says is heard so often. */
export const hearEachMs = 20
/** Of short runs, a child may have so much work ahead: it need not wait for the next, and the worker looks at it once for several. */
const aheadMs = 60
/** More at a time would save nothing any more. */
const deepest = 64

/** How many runs a child may have: so many short ones as make a little work, and else the one that it runs. */
export function depthFor(averageMs: number): number {
  return averageMs < shortMs ? Math.min(Math.floor(aheadMs / averageMs), deepest) : 1
}

/** What all children share, waiting in the pool, is soon with any of them: so many are enough. */
export const mostInPool = 30

/** How long the first run of a child may take before those behind it are run elsewhere. */
export function patienceFor(averageMs: number): number {
  return averageMs < shortMs ? Math.max(shortMs, 4 * averageMs) : shortMs
}

/** A child that is free may take so long to start what it was given. */
export const startPatienceMs = 10_000
