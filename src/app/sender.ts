import { randomUUID } from 'node:crypto'
import { setImmediate } from 'node:timers'
import type { AsyncResult, Enqueued } from '../canvas/handles.js'
import type { Plan, PlannedCall } from '../canvas/plan.js'
import { planSignature } from '../canvas/planner.js'
import type { ApplyOptions } from '../canvas/sig.js'
import { plainOptions, type Signature, type SignatureSender } from '../canvas/signature.js'
import { newTaskId } from '../internal/task-id.js'
import { idsIn } from '../protocol/result.js'
import { checkSignatures } from '../protocol/signature.js'
import { enqueued, StoredResult } from './async-result.js'
import { checkCallOptions, withCallOptions } from './call-options.js'
import { runningTask } from './context.js'
import type { AppCore } from './core.js'
import { handleOf } from './group-result.js'
import { MessageWriter, type Prepared } from './message-writer.js'
import type { OutgoingCall } from './outgoing-call.js'
import { throughLayers } from './publish-layers.js'
import { type Publication, Publisher, publishedTask } from './publisher.js'
import { needChords, type ResultAccess } from './result-wait.js'
import { UniqueCalls } from './unique-calls.js'
import { Window } from './window.js'

/** Messages of a plan that are on their way at the same time: what comes of a group of 100 000 stays out of memory until its turn. */
const sentAtOnce = 1_000
/** After so many the broker gets what was made: workers begin while the others are made. */
const madeAtOnce = 100

/** Runs calls and workflows here and now: `taskAlwaysEager`. */
export interface EagerRunner {
  call(call: OutgoingCall, id: string): Promise<AsyncResult<unknown>>
  plan(plan: Plan): Promise<AsyncResult<unknown>>
}

/** Sends calls and workflows: ids, what stands between a call and the broker, and the steps of a plan in their order. */
export class Sender implements SignatureSender {
  readonly writer: MessageWriter
  readonly #core: AppCore
  readonly #access: ResultAccess
  readonly #publisher: Publisher
  readonly #eager: EagerRunner
  readonly #unique: UniqueCalls

  constructor(core: AppCore, access: ResultAccess, eager: EagerRunner) {
    this.#core = core
    this.#access = access
    this.writer = new MessageWriter(core)
    this.#publisher = new Publisher(core)
    this.#eager = eager
    this.#unique = new UniqueCalls(core, access)
  }

  /** Errbacks of a chord are told of its header tasks, too. */
  get errbacksOnHeaders(): boolean {
    return this.#core.config.taskAllowErrorCbOnChordHeader
  }

  /** Signatures of this app send themselves through it. */
  send(signature: Signature, options: ApplyOptions): Enqueued<unknown> {
    const { task, args, kwargs, options: own, subtaskType, plumbing } = signature.call
    if (subtaskType === null && plumbing === undefined && !task.startsWith('celery.'))
      return this.apply({ task, definition: this.#core.registry.get(task), args, kwargs, options: withCallOptions(own, options) })
    try {
      checkCallOptions(options)
      const { retry = own.retry, signal = own.signal, ...rest } = options
      const plan = planSignature(signature.set({ retry: undefined, signal: undefined }).wire(), {
        options: plainOptions(rest),
        newId: () => newTaskId(this.#core.clock.now()),
        replyTo: this.#core.connections.replyTo,
        errbacksOnHeaders: this.errbacksOnHeaders,
      })
      return enqueued(plan.result[0][0], this.#sendPlan(plan, { retry, signal }))
    } catch (error) {
      // As every other refusal of a call: not thrown at once, but told by the promise.
      return enqueued(options.taskId ?? own.taskId ?? randomUUID(), Promise.reject(error))
    }
  }

  apply<R>(call: OutgoingCall): Enqueued<R> {
    const id = call.options.taskId ?? newTaskId(this.#core.clock.now())
    // The result's type is the caller's claim: tasks run elsewhere.
    return enqueued(id, this.#send(call, id) as Promise<AsyncResult<R>>)
  }

  /** The handle of what was sent otherwise. */
  handle(id: string): AsyncResult<unknown> {
    return new StoredResult(id, this.#access)
  }

  /** A message that was made elsewhere (a retry, a link) to where it belongs. */
  publish(prepared: Pick<Prepared, 'message' | 'routed' | 'notBefore'>): Promise<void> {
    return this.#publish(prepared, {})
  }

  async #send(call: OutgoingCall, id: string): Promise<AsyncResult<unknown>> {
    if (call.options.unique === undefined) return throughLayers(this.#core, call, id, (now) => this.#sendOne(now, id))
    return throughLayers(this.#core, call, id, (now) => this.#unique.send(now, id, (free) => this.#sendOne(free, id)))
  }

  async #sendOne(call: OutgoingCall, id: string): Promise<AsyncResult<unknown>> {
    if (this.#core.config.taskAlwaysEager) {
      call.options.signal?.throwIfAborted()
      return this.#eager.call(call, id)
    }
    await this.#sendNow(call, id)
    runningTask()?.addChild([[id, null], null])
    return new StoredResult(id, this.#access, { ignored: !this.#isAwaited(call) })
  }

  async #sendPlan(plan: Plan, options: Pick<ApplyOptions, 'retry' | 'signal'>): Promise<AsyncResult<unknown>> {
    const { connections, config } = this.#core
    if (config.taskAlwaysEager) {
      options.signal?.throwIfAborted()
      return this.#eager.plan(plan)
    }
    if (plan.hasChords) needChords(await connections.backend())
    const inbox = await connections.inbox()
    inbox?.expect(idsIn(plan.result))
    const counted: string[] = []
    try {
      await this.#sendSteps(plan, options, counted)
    } catch (error) {
      // Some headers may run, but not all of them: nobody is to count them. What went wrong here is what the caller has to know.
      await Promise.allSettled(
        counted.map(async (groupId) => (await connections.backend()).endChord(groupId, { expiresSeconds: config.resultExpires })),
      )
      throw error
    }
    runningTask()?.addChild(plan.started)
    return handleOf(this.#access, plan.result)
  }

  async #sendSteps({ steps }: Plan, options: Pick<ApplyOptions, 'retry' | 'signal'>, counted: string[]): Promise<void> {
    const { connections, config } = this.#core
    const expiresSeconds = config.resultExpires
    const window = new Window(sentAtOnce)
    let made = 0
    for (const step of steps) {
      switch (step.kind) {
        case 'send': {
          const full = window.add(this.#sendCall(step.call, options))
          if (full !== undefined) await full
          if (++made % madeAtOnce === 0) await turnOfLoop()
          break
        }
        // What counts and restores must be there before the first part can end.
        case 'chord':
          counted.push(step.groupId)
          await (await connections.backend()).startChord(step.groupId, {
            size: step.size,
            body: this.writer.chordText(step.body),
            expiresSeconds,
          })
          break
        case 'saveGroup':
          await (await connections.backend()).saveGroup(step.tuple, { expiresSeconds })
          break
        default:
          return step satisfies never
      }
    }
    await window.settled()
  }

  /** Never throws: it rejects. */
  #sendCall(planned: PlannedCall, { retry, signal }: Pick<ApplyOptions, 'retry' | 'signal'>): Promise<void> {
    try {
      const { callbacks, errbacks, chain } = planned.embed
      // No worker would take it.
      if (callbacks !== null || errbacks !== null || (chain !== null && chain.length > 0))
        checkSignatures([
          ['link', callbacks],
          ['link_error', errbacks],
          ['chain', chain],
        ])
      const call = this.writer.outgoing(planned)
      const { id } = planned
      return throughLayers(this.#core, { ...call, options: { ...call.options, retry, signal } }, id, (now) => this.#sendNow(now, id))
    } catch (error) {
      return Promise.reject(error)
    }
  }

  async #sendNow(call: OutgoingCall, id: string): Promise<void> {
    const { retry, signal } = call.options
    signal?.throwIfAborted()
    const writing = this.writer.write(call, id)
    const prepared = writing instanceof Promise ? await writing : writing
    call.routed?.(prepared.routed)
    const opening = this.#isAwaited(call) ? this.#core.connections.inbox() : undefined
    // Most backends have none, and their senders wait for nothing here.
    const inbox = opening === undefined ? undefined : await opening
    inbox?.expect([id])
    await this.#publish({ ...prepared, inbox, fences: call.fences }, { retry, signal })
  }

  async #publish(publication: Publication, options: Pick<ApplyOptions, 'retry' | 'signal'>): Promise<void> {
    const { hooks, log } = this.#core
    if (!hooks.silent('beforeTaskPublish')) hooks.emit('beforeTaskPublish', publishedTask(publication), log)
    await this.#publisher.publish(publication, options)
    if (!hooks.silent('afterTaskPublish')) hooks.emit('afterTaskPublish', publishedTask(publication), log)
  }

  /** False: it is known here that the worker will store no result. */
  #isAwaited({ definition, options }: OutgoingCall): boolean {
    const ignored = options.ignoreResult ?? definition?.options.ignoreResult
    return ignored !== true && !(ignored === undefined && definition !== undefined && this.#core.config.taskIgnoreResult)
  }
}

/** When what was published in this turn of the event loop is on its way. */
function turnOfLoop(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
