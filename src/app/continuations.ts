import { createHash } from 'node:crypto'
import { NotSupportedError } from '../errors.js'
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
 * Throws NotSupportedError for workflows that this version cannot run, InvalidMessageError for signatures that are none.
 */
export function continuationsAfter(core: AppCore, head: TaskHead, outcome: Outcome): readonly Continuation[] {
  if (outcome.status === 'success') return linked(core, head, outcome.continuations, 'callbacks', new JsonText(outcome.result))
  if (outcome.status === 'failure' || outcome.status === 'killed') return linked(core, head, outcome.continuations, 'errbacks', head.id)
  return []
}

/**
 * Before a task runs: whether what follows it can be done here. Otherwise the task would run, and run again, and never be settled.
 * Throws NotSupportedError for workflows that this version cannot run, InvalidMessageError for signatures that are none.
 */
export function checkContinuations({ callbacks, errbacks, chain, chord }: Continuations, taskId: string): void {
  if ((chain ?? []).length > 0 || chord !== null) {
    throw new NotSupportedError(`the chain or chord that task ${taskId} is part of`, 'workflows (canvas) cannot run in this version')
  }
  for (const [kind, links] of Object.entries({ callbacks, errbacks })) {
    for (const [index, given] of (links ?? []).entries()) {
      const { subtask_type: type } = parseSignature(given, `${kind}[${index}]`)
      if (type !== null)
        throw new NotSupportedError(`the ${type} linked to task ${taskId}`, 'workflows (canvas) cannot run in this version')
    }
  }
}

function linked(
  core: AppCore,
  head: TaskHead,
  continuations: Continuations | null,
  kind: 'callbacks' | 'errbacks',
  argument: unknown,
): readonly Continuation[] {
  if (continuations === null) return []
  checkContinuations(continuations, head.id)
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
