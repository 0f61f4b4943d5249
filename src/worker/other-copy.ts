import type { ResultMeta } from '../protocol/result.js'
import type { ActiveTask } from './active-task.js'

/**
 * Whether another copy of this message is at work: one that this worker holds, or one of which something is stored. No task that took its place, or that it is a
 * retry of, is its copy, though the id is the same: it has been replaced, or retried, less often or more often.
 */
export function hasOtherCopy({ head }: ActiveTask, stored: ResultMeta | undefined, held: Iterable<ActiveTask>): boolean {
  if (stored !== undefined && head.replacedTaskNesting === 0) return true
  for (const { head: other } of held) {
    const isIt = other.id === head.id && other.replacedTaskNesting === head.replacedTaskNesting && other.retries === head.retries
    if (isIt && other !== head) return true
  }
  return false
}
