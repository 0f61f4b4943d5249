import type { Next } from '../app/continue/continuer.js'
import { embedOf } from '../app/continue/embed.js'
import { type End, type Ended, endOf } from '../app/continue/ended.js'
import type { Replaced } from '../app/continue/plans.js'
import type { AppCore } from '../app/core.js'
import type { MetaParts } from '../app/outcomes.js'
import type { Continuations } from '../pool.js'
import type { ActiveTask } from './active-task.js'

/** What is done after the state of a task is stored. */
export interface Follow {
  readonly ended: Ended
  readonly next?: Next
}

/** Undefined: nothing follows. */
export function followOf(
  core: AppCore,
  task: ActiveTask,
  final: Pick<MetaParts, 'status' | 'result' | 'traceback'>,
  continuations: Continuations | null,
): Follow | undefined {
  return continuations === null ? undefined : { ended: endedTask(core, task, endOf(final), continuations) }
}

export function endedTask(core: AppCore, task: ActiveTask, end: End, continuations: Continuations): Ended {
  return { ...placeOf(core, task, continuations), end }
}

/** Where a task stands in its workflow. */
export function placeOf({ config }: AppCore, { delivery, head, message }: ActiveTask, continuations: Continuations | null): Replaced {
  const { id, rootId, group, groupIndex, replacedTaskNesting, resent } = head
  return {
    id,
    rootId,
    groupId: group,
    groupIndex,
    replacedTaskNesting,
    replyTo: message.properties.replyTo,
    embed: embedOf(continuations),
    priority: config.taskInheritParentPriority ? message.properties.priority : undefined,
    again: delivery.redelivered || resent,
  }
}
