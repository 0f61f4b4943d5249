/** Who follows a task, in Celery's order (celery-wire 2.5), with ids that are the same each time it is asked. */
import { type Plan, planSignature } from '../../canvas/plan.js'
import { parseSignature, type WireSignature } from '../../protocol/signature.js'
import { derivedId } from './derived-id.js'
import type { Ended } from './ended.js'

/**
 * The callbacks of a success with its result, then the next step of its chain with the rest of it. One callback is applied as it is; of several, the groups each by
 * itself, and all others together as a new group.
 */
export function plansAfterSuccess({ id, rootId, embed, priority, end }: Ended): readonly Plan[] {
  if (end.status !== 'SUCCESS') return []
  const { result } = end
  const callbacks = (embed.callbacks ?? []).map((given, index) => parseSignature(given, `embed.callbacks[${index}]`))
  const plan = (signature: WireSignature, place: string, chain?: readonly unknown[]): Plan =>
    planSignature(signature, {
      args: [result],
      options: priority === undefined ? {} : { priority },
      rootId,
      parentId: id,
      chain,
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
  const signatures = errbacks.map((given, index) => parseSignature(given, `link_error[${index}]`))
  return planSignature(groupOf(signatures), { args: [id], rootId, parentId: id, newId: (path) => derivedId(id, `errbacks${path}`) })
}

/** The body of a chord with the list of its headers' results. Whichever of them comes last, the body has the same id. */
export function planOfBody(body: WireSignature, { id, rootId, groupId }: { id: string; rootId: string; groupId: string }, results: unknown): Plan {
  return planSignature(body, { args: [results], rootId, parentId: id, newId: (path) => derivedId(groupId, `body${path}`) })
}

function groupOf(tasks: readonly WireSignature[]): WireSignature {
  return { task: 'celery.group', args: [], kwargs: { tasks }, options: {}, subtask_type: 'group', immutable: false }
}
