import type { ChordCounters, ChordPart, ResultBackend } from '../../backend.js'
import type { Plan, PlannedCall, PlanStep } from '../../canvas/plan.js'
import { failpoint } from '../../internal/failpoints.js'
import type { JsonText } from '../../protocol/json-text.js'
import { isRecord } from '../../protocol/plain.js'
import { errorToRemote, type RemoteErrorData, remoteToWire } from '../../protocol/remote-error.js'
import type { ResultMeta, ResultTuple } from '../../protocol/result.js'
import { parseSignature, type WireSignature } from '../../protocol/signature.js'
import { decodeJson } from '../../serializers/json.js'
import type { AppCore } from '../core.js'
import type { Prepared } from '../message-writer.js'
import { chordError, joinParts, lost, reprError } from './chord-join.js'
import { derivedId } from './derived-id.js'
import { type Doomed, doomedBody, doomedInChain } from './doomed.js'
import { unreadBody } from './embed.js'
import type { Closer, Ended } from './ended.js'
import { type PlanOptions, planOfBody, planOfErrbacks, planOfReplacement, plansAfterSuccess, type Replaced } from './plans.js'

/** So many messages, or results, are on their way at once. */
const windowSize = 500
/** So many messages are made before anything is stored: what is wrong with one of them fails the task whose end would have sent it. */
const aheadAtMost = 1_000

/** What a continuer asks of a result backend. */
export type ContinuerStore = Pick<ResultBackend, 'supports' | 'store' | 'saveGroup' | 'group' | keyof ChordCounters>

export interface ContinuerParts {
  readonly core: AppCore
  readonly backend: ContinuerStore
  /** Throws or rejects for a call that cannot be sent. */
  prepare(call: PlannedCall): Prepared | Promise<Prepared>
  /** The body of a chord as its header tasks carry it. */
  chordText(body: object): JsonText
  /** Settles when the broker has the message. `again`: it may have it already, and nobody knows. */
  publish(prepared: Prepared, options: { readonly again: boolean }): Promise<void>
  /** Those of the ids whose tasks are on their way already, or have ended. */
  known(taskIds: readonly string[]): Promise<ReadonlySet<string>>
}

/** What follows a success, made and checked before its result is stored. */
export interface Next {
  /** Handles of all that will be sent. */
  readonly children: readonly ResultTuple[]
  readonly steps: readonly ReadySteps[]
}

interface ReadySteps {
  readonly ready: readonly ReadyStep[]
  /** What there is beyond `aheadAtMost`. */
  readonly rest: Iterator<PlanStep> | undefined
}

type ReadyStep = Exclude<PlanStep, { kind: 'send' }> | { readonly kind: 'send'; readonly prepared: Prepared }

/**
 * What follows the end of a task, whose state is stored: links, the next step of its chain, its part in a chord; after a failure the tasks that will never run.
 * In this order; each step can be done twice, and throws when it cannot be done now.
 */
export class Continuer {
  readonly #parts: ContinuerParts

  constructor(parts: ContinuerParts) {
    this.#parts = parts
  }

  get #planning(): PlanOptions {
    return { errbacksOnHeaders: this.#parts.core.config.taskAllowErrorCbOnChordHeader }
  }

  /** Throws for what cannot be sent: the task fails with it, as in Celery. */
  async next(ended: Ended): Promise<Next> {
    const plans = plansAfterSuccess(ended, this.#planning)
    const steps: ReadySteps[] = []
    for (const plan of plans) steps.push(await this.#ahead(plan))
    return { children: plans.map(({ started }) => started), steps }
  }

  /** Starts a workflow. `again`: it may have been started before, with the same ids. */
  async start(plan: Plan, { again }: { readonly again: boolean }): Promise<void> {
    await this.#runPlan(plan.steps, { again })
  }

  async after(ended: Ended, next?: Next): Promise<void> {
    for (const steps of next?.steps ?? []) await this.#go(steps, ended.again)
    await this.returnPart(ended)
    if (ended.end.status === 'SUCCESS') return
    const { error, status } = ended.end
    if (ended.embed.chain !== null) await this.#fail(doomedInChain(ended.embed.chain), { ...ended, error, status })
    if (status === 'FAILURE') await this.#tell(ended, ended.embed.errbacks ?? [], ended.again)
  }

  /** What takes a task's place, under the same id: with its links, its place in a group, and the rest of its chain. Throws for what cannot be sent. */
  async replacement(replaced: Replaced, signature: string): Promise<Next> {
    const plan = planOfReplacement(replaced, parseSignature(decodeJson(signature), 'replacement'), this.#planning)
    return { children: [plan.started], steps: [await this.#ahead(plan)] }
  }

  async replace({ id, again }: Replaced, { steps }: Next): Promise<void> {
    // The message that is replaced has the same id, and is at hand: nothing can be learned from that.
    for (const one of steps) await this.#go(one, again, id)
  }

  // ── plans ──

  async #ahead({ steps }: Plan): Promise<ReadySteps> {
    const ready: ReadyStep[] = []
    const rest = steps[Symbol.iterator]()
    for (let step = rest.next(); step.done !== true; step = rest.next()) {
      ready.push(await this.#ready(step.value))
      if (ready.length >= aheadAtMost) return { ready, rest }
    }
    return { ready, rest: undefined }
  }

  async #ready(step: PlanStep): Promise<ReadyStep> {
    return step.kind === 'send' ? { kind: 'send', prepared: await this.#parts.prepare(step.call) } : step
  }

  async #go({ ready, rest }: ReadySteps, again: boolean, unlike?: string): Promise<void> {
    await this.#run(ready, again, unlike)
    if (rest !== undefined) await this.#runPlan({ [Symbol.iterator]: () => rest }, { again, unlike })
  }

  /** With `lenient`, what cannot be sent is logged and does not keep the others back. */
  async #runPlan(
    steps: Iterable<PlanStep>,
    { again, lenient = false, unlike }: { again: boolean; lenient?: boolean; unlike?: string | undefined },
  ): Promise<void> {
    let ready: ReadyStep[] = []
    for (const step of steps) {
      try {
        ready.push(await this.#ready(step))
      } catch (error) {
        if (!lenient || step.kind !== 'send') throw error
        this.#parts.core.log.error(
          { task: step.call.task, task_id: step.call.id, err: error },
          `${step.call.task}, an errback of task ${step.call.parentId}, cannot be sent`,
        )
      }
      if (ready.length < windowSize) continue
      await this.#run(ready, again, unlike)
      ready = []
    }
    await this.#run(ready, again, unlike)
  }

  async #run(steps: readonly ReadyStep[], again: boolean, unlike?: string): Promise<void> {
    const { backend, core } = this.#parts
    const expiresSeconds = core.config.resultExpires
    let window: Prepared[] = []
    for (const step of steps) {
      if (step.kind === 'send') {
        window.push(step.prepared)
        if (window.length < windowSize) continue
      }
      await this.#publish(window, again, unlike)
      window = []
      if (step.kind === 'chord') {
        const { groupId, size } = step
        await backend.startChord(groupId, { size, body: this.#parts.chordText(step.body), expiresSeconds })
      }
      if (step.kind === 'saveGroup') await backend.saveGroup(step.tuple, { expiresSeconds })
    }
    await this.#publish(window, again, unlike)
  }

  async #publish(window: readonly Prepared[], again: boolean, unlike: string | undefined): Promise<void> {
    if (window.length === 0) return
    const known = again ? await this.#parts.known(window.map(({ id }) => id)) : none
    await Promise.all(
      window.map(async (prepared) => {
        if (prepared.id !== unlike && known.has(prepared.id)) return
        await this.#parts.publish(prepared, { again })
        failpoint('continuation.after_one')
      }),
    )
  }

  // ── failures ──

  /** Errbacks get the id of what failed, in a message of their own each. */
  async #tell(failed: { readonly id: string; readonly rootId: string }, errbacks: readonly unknown[], again: boolean): Promise<void> {
    if (errbacks.length > 0) await this.#runPlan(planOfErrbacks(failed, errbacks).steps, { again, lenient: true })
  }

  /** Stores the failure for all that will never run, and tells the chords that wait for them. */
  async #fail(doomed: Iterable<Doomed>, cause: Cause): Promise<void> {
    let window: Doomed[] = []
    for (const task of doomed) {
      window.push(task)
      if (window.length < windowSize) continue
      await this.#failAll(window, cause)
      window = []
    }
    await this.#failAll(window, cause)
  }

  async #failAll(window: readonly Doomed[], cause: Cause): Promise<void> {
    const { backend, core } = this.#parts
    const { error, status, again, priority } = cause
    const { resultExpires: expiresSeconds } = core.config
    const stored = window.filter(({ ignoresResult }) => backend.supports.results && !ignoresResult)
    await Promise.all(stored.map((task) => backend.store(this.#metaOf(task, cause), { expiresSeconds, replyTo: task.replyTo })))
    for (const { id, rootId, groupId, groupIndex, chord, errbacks } of window) {
      await this.#tell({ id, rootId: rootId ?? cause.rootId }, errbacks, again)
      const embed = { callbacks: null, errbacks: null, chain: null, chord }
      await this.returnPart({ id, rootId: rootId ?? cause.rootId, groupId, groupIndex, embed, priority, again, end: { status, error } })
    }
  }

  #metaOf({ id, groupId, parentId }: Doomed, { error, status }: Cause): ResultMeta {
    return {
      taskId: id,
      status,
      result: remoteToWire(error),
      traceback: error.traceback,
      children: [],
      dateDone: this.#parts.core.isoNow(),
      groupId: groupId ?? undefined,
      parentId: parentId ?? undefined,
    }
  }

  // ── chords ──

  /** The part that completes a chord closes it: its body is sent, or told that a header failed. Nested chords nest here; signatures are at most 64 deep. */
  async returnPart(ended: Ended): Promise<void> {
    const { id, groupId, groupIndex, embed, end } = ended
    const { backend, core } = this.#parts
    if (!isRecord(embed.chord) || groupId === null || !backend.supports.chords) return
    const part: ChordPart = {
      taskId: id,
      index: groupIndex,
      status: end.status,
      result: end.status === 'SUCCESS' ? end.result : remoteToWire(end.error),
    }
    const { chord_size: size } = embed.chord
    const expiresSeconds = core.config.resultExpires
    const parts = await backend.completeChordPart(groupId, part, { size: typeof size === 'number' ? size : undefined, expiresSeconds })
    if (parts === 'waiting') return
    failpoint('chord.after_count')
    const carried = embed.chord === unreadBody ? await this.#keptBody(groupId) : embed.chord
    if (carried === undefined) return
    const body = parseSignature(carried, 'embed.chord')
    const closer = { ...ended, groupId }
    if (parts === 'lost') await this.#lose(body, closer)
    else {
      await this.close(body, closer, parts, await backend.group(groupId))
    }
    // Not before all is told: whoever is killed here is delivered again, and closes the chord again.
    failpoint('chord.before_end')
    await backend.endChord(groupId, { expiresSeconds })
  }

  /** Undefined, with a word in the log: it was started by Python, which keeps it nowhere but in the messages. */
  async #keptBody(groupId: string): Promise<unknown> {
    const kept = await this.#parts.backend.chordBody(groupId)
    if (kept !== undefined) return decodeJson(kept.text)
    this.#parts.core.log.error(
      { group_id: groupId },
      `All members of group ${groupId} have ended. If it is the header of a chord, its body will not run: the last member's message could not be read`,
    )
    return undefined
  }

  /** Sends the body with the results of all parts, or tells it which of them failed. As in Celery, a body that cannot be sent fails the chord. */
  async close(body: WireSignature, closer: Closer, parts: readonly ChordPart[], tree: ResultTuple | undefined): Promise<void> {
    const joined = joinParts(parts, tree)
    if (joined.results === undefined) return this.#failBody(body, closer, joined.error, joined.cause)
    let next: ReadySteps
    try {
      next = await this.#ahead(planOfBody(body, closer, joined.results, this.#planning))
    } catch (error) {
      const cause = errorToRemote(error)
      return this.#failBody(body, closer, chordError(`Callback error: ${reprError(cause)}`), cause)
    }
    await this.#go(next, closer.again)
  }

  /** Ends a chord that nobody waits for any more. */
  async abandon(body: WireSignature, closer: Closer, reason: string): Promise<void> {
    const error = chordError(reason)
    await this.#failBody(body, closer, error, error)
  }

  /** Members of a group are told what the header failed with, as in Celery; one task, that its chord failed. */
  #failBody(body: WireSignature, closer: Closer, error: RemoteErrorData, cause: RemoteErrorData): Promise<void> {
    const { core } = this.#parts
    core.log.error({ group_id: closer.groupId, task: body.task }, `Chord ${closer.groupId} failed: ${error.excMessage.join(', ')}`)
    const named = { ...body, options: { task_id: derivedId(closer.groupId, 'body'), ...body.options } }
    return this.#fail(doomedBody(named), { ...closer, status: 'FAILURE', error: body.subtask_type === 'group' ? cause : error })
  }

  /** Others may have been faster: a body that is on its way, or has ended, is not failed. */
  async #lose(body: WireSignature, closer: Closer): Promise<void> {
    const { task_id: id } = body.options
    if (typeof id === 'string' && (await this.#parts.known([id])).has(id)) return
    const { error, cause } = lost('the result store does not know this chord any more')
    await this.#failBody(body, closer, error, cause)
  }
}

interface Cause extends Pick<Ended, 'rootId' | 'again' | 'priority'> {
  readonly status: 'FAILURE' | 'REVOKED'
  readonly error: RemoteErrorData
}

const none: ReadonlySet<string> = new Set()
