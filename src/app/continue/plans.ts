/** Who follows a task, in Celery's order (celery-wire 2.5), with ids that are the same each time it is asked. */
import { groupOf, kindOf, nameAt } from '../../canvas/members.js'
import type { Plan } from '../../canvas/plan.js'
import { planSignature } from '../../canvas/planner.js'
import { parseSignature, type WireSignature } from '../../protocol/signature.js'
import { derivedId } from './derived-id.js'
import type { Closer, Ended } from './ended.js'

/** `taskAllowErrorCbOnChordHeader`. */
export interface PlanOptions {
  readonly errbacksOnHeaders: boolean
}

/**
 * The callbacks of a success with its result, then the next step of its chain with the rest of it. One callback is applied as it is; of several, the groups each by
 * itself, and all others together as a new group.
 */
export function plansAfterSuccess({ id, rootId, embed, priority, end }: Ended, { errbacksOnHeaders }: PlanOptions): readonly Plan[] {
  if (end.status !== 'SUCCESS') return []
  const { result } = end
  const callbacks = linksWithIds(id, 'callbacks', embed.callbacks)
  const plan = (signature: WireSignature, place: string, chain?: readonly unknown[]): Plan =>
    planSignature(signature, {
      args: [result],
      options: priority === undefined ? {} : { priority },
      rootId,
      parentId: id,
      chain,
      errbacksOnHeaders,
      newId: (path) => derivedId(id, place + path),
    })
  const plans: Plan[] = []
  if (callbacks.length === 1) for (const callback of callbacks) plans.push(plan(callback, 'callbacks'))
  else {
    const single: WireSignature[] = []
    for (const [index, callback] of callbacks.entries()) {
      if (callback.subtask_type === 'group') plans.push(plan(callback, `callbacks[${index}]`))
      else single.push(callback)
    }
    if (single.length > 0) plans.push(plan(groupOf(single), 'callbacks'))
  }
  const { chain } = embed
  if (chain !== null && chain.length > 0)
    plans.push(plan(parseSignature(chain.at(-1), `embed.chain[${chain.length - 1}]`), 'chain', chain.slice(0, -1)))
  return plans
}

/** All errbacks of a failed task, as a group of calls that each get its id. */
export function planOfErrbacks({ id, rootId }: { readonly id: string; readonly rootId: string }, errbacks: readonly unknown[]): Plan {
  return planSignature(groupOf(linksWithIds(id, 'errbacks', errbacks)), {
    args: [id],
    rootId,
    parentId: id,
    newId: (path) => derivedId(id, `errbacks${path}`),
  })
}

/** The body of a chord with the list of its headers' results. Whichever of them comes last, the body has the same id. */
export function planOfBody(body: WireSignature, closer: Closer, results: unknown, { errbacksOnHeaders }: PlanOptions): Plan {
  const { id, rootId, groupId, priority } = closer
  return planSignature(body, {
    args: [results],
    options: body.options.priority === undefined ? { priority } : {},
    errbacksOnHeaders,
    rootId,
    parentId: id,
    newId: (path) => derivedId(groupId, `body${path}`),
  })
}

/** A task that hands its place on. */
export interface Replaced extends Pick<Ended, 'id' | 'rootId' | 'groupId' | 'groupIndex' | 'embed' | 'priority' | 'again'> {
  readonly replacedTaskNesting: number
  /** Where whoever waits for the task gets its result, where results are messages. */
  readonly replyTo: string | undefined
}

/** What takes the place of a task gets its id, its place in its group and chord, and the rest of its chain; its links were moved before (`replacementOf`). */
export function planOfReplacement(
  { id, rootId, groupId, groupIndex, embed, priority, replacedTaskNesting, replyTo }: Replaced,
  signature: WireSignature,
  { errbacksOnHeaders }: PlanOptions,
): Plan {
  const nesting = replacedTaskNesting + 1
  return planSignature(signature, {
    options: { replaced_task_nesting: nesting, priority, reply_to: replyTo },
    replyTo,
    taskId: id,
    rootId,
    parentId: id,
    chain: embed.chain?.map((step, index) => withNesting(parseSignature(step, `embed.chain[${index}]`), nesting)),
    chord: embed.chord,
    groupId: groupId ?? undefined,
    groupIndex: groupIndex ?? undefined,
    errbacksOnHeaders,
    newId: (path) => derivedId(id, `replaced/${nesting}${path}`),
  })
}

function withNesting(signature: WireSignature, nesting: number): WireSignature {
  return { ...signature, options: { ...signature.options, replaced_task_nesting: nesting } }
}

/** Calls of one task that have no id get one: the same, wherever they are sent from in its place. */
export function linksWithIds(id: string, place: string, links: readonly unknown[] | null): readonly WireSignature[] {
  return (links ?? []).map((given, index) => {
    const signature = parseSignature(given, `${place}[${index}]`)
    if (kindOf(signature) !== 'task' || nameAt(signature.options, 'task_id') !== undefined) return signature
    return { ...signature, options: { ...signature.options, task_id: derivedId(id, `${place}[${index}]`) } }
  })
}
