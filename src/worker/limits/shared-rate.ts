import { rateOf } from '../../app/limit-options.js'
import type { TaskDefinition } from '../../app/task.js'

/** Its rate limit counts by a key or for the cluster: a store of limits is asked. All other rates are counted on the worker alone (RateLimits). */
export function hasSharedRate({ options }: TaskDefinition): boolean {
  const limit = rateOf(options)
  return limit !== undefined && (limit.key !== undefined || limit.scope === 'cluster')
}

/** How often a task may start at the moment: remote control may change it. Undefined is no limit. */
export interface Rates {
  rateOf(task: TaskDefinition): number | undefined
}
