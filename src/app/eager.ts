import type { AsyncResult } from '../canvas/handles.js'
import type { Plan } from '../canvas/plan.js'
import { DecodeError } from '../errors.js'
import type { Execute, Outcome } from '../pool.js'
import { errorToRemote, failureFrom } from '../protocol/remote-error.js'
import { isReady, type ResultMeta, type ResultTuple } from '../protocol/result.js'
import { TaskHead } from '../protocol/task-head.js'
import { Continuer, type Next } from './continue/continuer.js'
import { embedOf } from './continue/embed.js'
import { endOf } from './continue/ended.js'
import { leaving } from './continue/leaving.js'
import type { AppCore } from './core.js'
import { EagerStore } from './eager-store.js'
import { executeWith } from './execute.js'
import { handleOf } from './group-result.js'
import type { Prepared } from './message-writer.js'
import { failed, finalState, isStored, type MetaParts, metaOf, retryMessage, withChildren } from './outcomes.js'
import type { OutgoingCall } from './outgoing-call.js'
import type { ResultAccess } from './result-wait.js'
import { requestOf } from './run-request.js'
import type { Sender } from './sender.js'

export interface EagerParts {
  readonly core: AppCore
  readonly sender: Sender
  readonly access: ResultAccess
}

/**
 * Runs a call where it is made (`taskAlwaysEager`): the message is written and read as for a worker, retries follow at once, and so does what comes after it.
 * No broker is touched; the backend only with `taskStoreEagerResult`.
 */
export async function runEagerly({ core, sender, access }: EagerParts, call: OutgoingCall, id: string): Promise<AsyncResult<unknown>> {
  const run = new EagerRun(core, sender)
  await run.all(await sender.writer.write(call, id))
  const meta = run.results.get(id)
  if (core.config.taskEagerPropagates && meta !== undefined && isReady(meta.status) && meta.status !== 'SUCCESS') throw failureFrom(meta)
  return handleIn(run, access, [[id, null], null])
}

/** A handle of what has run here, with its children. A task that ended by ignore() or reject() has no result: its handle says PENDING, as a stored one would. */
function handleIn(run: EagerRun, access: ResultAccess, tuple: ResultTuple): AsyncResult<unknown> {
  const local = { get: (id: string) => run.results.get(id) ?? pending(id), has: () => true }
  // All else is the app's own.
  const own: ResultAccess = Object.create(access, {
    handle: { value: (of: ResultTuple, parent?: AsyncResult<unknown>) => handleOf(own, of, { parent, local }) },
  })
  return own.handle(tuple)
}

function pending(taskId: string): ResultMeta {
  return { taskId, status: 'PENDING', result: null, traceback: null, children: null, dateDone: null }
}

/** A whole workflow in the same way, one task after the other: with the first step of a chain and the header of a chord run, all that they lead to has run, too. */
export async function runPlanEagerly({ core, sender, access }: EagerParts, plan: Plan): Promise<AsyncResult<unknown>> {
  const run = new EagerRun(core, sender)
  for (const step of plan.steps) {
    if (step.kind === 'chord') await run.results.startChord(step.groupId, step)
    else if (step.kind === 'saveGroup') await run.results.saveGroup(step.tuple)
    else await run.all(await sender.writer.writePlanned(step.call))
  }
  const result = handleIn(run, access, plan.result)
  if (core.config.taskEagerPropagates && ((await result.failed()) || (await result.state()) === 'REVOKED')) await result.get()
  return result
}

/** A call and all that follows it, one after the other. */
class EagerRun {
  readonly results = new EagerStore()
  readonly #core: AppCore
  readonly #continuer: Continuer
  readonly #execute: Execute
  readonly #waiting: Prepared[] = []

  constructor(core: AppCore, sender: Sender) {
    this.#core = core
    this.#execute = executeWith(core, sender, {
      starts: {
        start: (plan) => this.#continuer.start(plan, { again: false }),
        grow: (groupId, taskIds) => this.results.growChord(groupId, taskIds),
      },
    })
    this.#continuer = new Continuer({
      core,
      backend: this.results,
      prepare: (call) => sender.writer.writePlanned(call),
      chordText: (body) => sender.writer.chordText(body),
      publish: async (prepared) => void this.#waiting.push(prepared),
      known: async () => new Set(),
    })
  }

  async all(...first: readonly Prepared[]): Promise<void> {
    this.#waiting.push(...first)
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) await this.#run(next)
  }

  async #run(prepared: Prepared): Promise<void> {
    const core = this.#core
    const where = { queue: prepared.routed.queue ?? prepared.routed.to.routingKey, worker: 'eager' }
    for (let { message } = prepared; ; ) {
      const head = new TaskHead(message)
      const request = requestOf(core, message, head, core.registry.get(head.task), { ...where, redelivered: false })
      const store = (parts: MetaParts): Promise<void> => this.#store(head, metaOf(core, { message, head }, parts, where))
      const outcome = await this.#execute(request, {
        signal: new AbortController().signal,
        abortCause: undefined,
        accepted: () => {},
        storeState: (state, value) => store({ status: state, result: value, done: false }),
      })
      if (outcome.status !== 'retry') return this.#end(head, outcome, store)
      message = retryMessage(core, message, head, outcome.retry)
    }
  }

  async #end(head: TaskHead, outcome: Outcome, store: (parts: MetaParts) => Promise<void>): Promise<void> {
    const continuations = 'continuations' in outcome ? outcome.continuations : null
    const place = { ...head, groupId: head.group, embed: embedOf(continuations), priority: undefined, replyTo: undefined, again: false }
    if (outcome.status === 'ignored' || outcome.status === 'rejected') return this.#continuer.after(leaving(place, outcome.status))
    let final = outcome.status === 'undecodable' ? failed(errorToRemote(new DecodeError(outcome.reason)), []) : finalState(head, outcome)
    let next: Next | undefined
    try {
      if (outcome.status === 'replaced')
        return await this.#continuer.replace(place, await this.#continuer.replacement(place, outcome.signature))
      if (final !== undefined && continuations !== null && outcome.status === 'success')
        next = await this.#continuer.next({ ...place, end: endOf(final) })
    } catch (error) {
      // As in a worker: a task whose links cannot be sent has failed.
      final = failed(errorToRemote(error), [])
    }
    if (final === undefined) return
    await store(withChildren(final, next?.children))
    await this.#continuer.after({ ...place, end: endOf(final) }, next)
  }

  async #store(head: TaskHead, meta: ResultMeta): Promise<void> {
    const core = this.#core
    await this.results.store(meta)
    if (core.config.taskStoreEagerResult && isStored(core, head, core.registry.get(head.task), meta.status))
      await (await core.connections.backend()).store(meta, { expiresSeconds: core.config.resultExpires })
  }
}
