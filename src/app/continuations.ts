import { createHash } from 'node:crypto'
import type { Continuations, Outcome } from '../pool.js'
import { JsonText } from '../protocol/json-text.js'
import { parseSignature, type WireSignature } from '../protocol/signature.js'
import type { TaskHead } from '../protocol/task-head.js'
import type { AppCore } from './core.js'
import type { OutgoingCall } from './sender.js'
import { applyOptionsOf, embedFrom } from './signature-options.js'

/** A task to be sent because another has ended. Its id is fixed, so that a redelivered task sends the same one again. */
export interface Continuation {
  readonly id: string
  readonly call: OutgoingCall
}

/**
 * What follows an outcome: the callbacks of a success with its result, the errbacks of a failure with the failed task's id.
 * What this version cannot send was refused before the task ran (`unsupportedIn`).
 */
export function continuationsAfter(core: AppCore, head: TaskHead, outcome: Outcome): readonly Continuation[] {
  if (outcome.status === 'success') return linked(core, head, outcome.continuations, 'callbacks', new JsonText(outcome.result))
  if (outcome.status === 'failure' || outcome.status === 'killed') return linked(core, head, outcome.continuations, 'errbacks', head.id)
  return []
}

/** Why this version cannot run a task with these continuations, to be asked before it runs; undefined when it can. Throws for links with options that are none. */
export function unsupportedIn({ callbacks, errbacks, chain, chord }: Continuations): string | undefined {
  if ((chain ?? []).length > 0) return 'it is part of a chain'
  if (chord !== null) return 'it is part of a chord'
  for (const [index, given] of [...(callbacks ?? []), ...(errbacks ?? [])].entries()) {
    const { subtask_type: type, options } = parseSignature(given, `link ${index}`)
    if (type !== null) return `a ${type} is linked to it`
    applyOptionsOf(options)
  }
  return undefined
}

function linked(
  core: AppCore,
  head: TaskHead,
  continuations: Continuations | null,
  kind: 'callbacks' | 'errbacks',
  argument: unknown,
): readonly Continuation[] {
  if (continuations === null) return []
  return (continuations[kind] ?? []).map((given, index) => {
    const signature = parseSignature(given, `${kind}[${index}]`)
    const args = signature.immutable ? signature.args : [argument, ...signature.args]
    return { id: idOf(signature, head, kind, index), call: { ...callOf(core, signature, args), rootId: head.rootId, parentId: head.id } }
  })
}

function callOf(core: AppCore, signature: WireSignature, args: readonly unknown[]): OutgoingCall {
  return {
    task: signature.task,
    definition: core.registry.get(signature.task),
    args,
    kwargs: signature.kwargs,
    options: applyOptionsOf(signature.options),
    embed: embedFrom(signature.options),
  }
}

/** The id that the sender gave, or one made from the parent's: the same for every delivery of the parent. */
function idOf(signature: WireSignature, head: TaskHead, kind: string, index: number): string {
  const given = signature.options.task_id
  if (typeof given === 'string' && given !== '') return given
  const hex = createHash('sha256').update(`${head.id}/${head.retries}/${kind}/${index}`).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}
