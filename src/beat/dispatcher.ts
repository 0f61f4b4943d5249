/** Sends one run of an entry: its call with the id of its instant, behind the broker's fences. */
import type { AppCore } from '../app/core.js'
import type { OutgoingCall } from '../app/outgoing-call.js'
import type { Sender } from '../app/sender.js'
import { applyOptionsOf, embedFrom } from '../app/signature-options.js'
import type { ApplyOptions } from '../canvas/sig.js'
import { type Call, Signature, signatureOf } from '../canvas/signature.js'
import {
  ConnectionError,
  FencedError,
  NotPublishedError,
  OptionInvalidError,
  PublishUncertainError,
  ResultsDisabledError,
} from '../errors.js'
import { parseSignature } from '../protocol/signature.js'
import { decodeJson } from '../serializers/json.js'
import type { Fence } from '../transport.js'
import type { Definition, ProgramEntry } from './definition.js'

export interface Run {
  readonly entry: string
  readonly definition: Definition
  /** The program's own entry, when it is its definition that counts. */
  readonly program: ProgramEntry | undefined
  readonly taskId: string
  readonly dueMs: number
}

export type SendOutcome =
  | { readonly status: 'sent'; readonly taskId: string }
  /** By a leader before, which could not record it. */
  | { readonly status: 'sent-before' }
  /** Another beat leads now. */
  | { readonly status: 'deposed' }
  /** The broker cannot take it now. */
  | { readonly status: 'later'; readonly error: Error }
  /** It can never be sent: its arguments do not fit, or cannot be made or written. */
  | { readonly status: 'failed'; readonly error: Error }

export interface RunFences {
  /** Only the newest leader passes. */
  readonly leader: Fence
  /** Each instant passes once. */
  readonly entry: Fence
}

export class Dispatcher {
  readonly #core: AppCore
  readonly #sender: Sender

  constructor(core: AppCore, sender: Sender) {
    this.#core = core
    this.#sender = sender
  }

  /** `fences` is undefined for runs that somebody asked for, and on brokers that have none. */
  async send(run: Run, fences: RunFences | undefined): Promise<SendOutcome> {
    const progress = { isFencePassed: false }
    try {
      return { status: 'sent', taskId: await this.#send(run, fences, progress) }
    } catch (error) {
      if (error instanceof FencedError) return { status: error.key === fences?.entry.key ? 'sent-before' : 'deposed' }
      const reason = error instanceof Error ? error : new Error(String(error))
      const mayWorkLater = error instanceof NotPublishedError || error instanceof ConnectionError || error instanceof PublishUncertainError
      // A part of a workflow may be on its way: it cannot be sent once more.
      return { status: mayWorkLater && !progress.isFencePassed ? 'later' : 'failed', error: reason }
    }
  }

  async #send(run: Run, fences: RunFences | undefined, progress: { isFencePassed: boolean }): Promise<string> {
    const { definition, taskId } = run
    if (definition.overlap !== 'allow' && !(await this.#core.connections.backend()).supports.results) throw new ResultsDisabledError()
    const call = await this.#callOf(run)
    const passed = fences === undefined ? [] : [fences.leader, fences.entry]
    if ('sender' in call) {
      // Several messages: the fences are passed first, so that it is sent once at most.
      if (passed.length > 0) await (await this.#core.connections.publisher()).raiseFences?.(passed)
      progress.isFencePassed = passed.length > 0
      const { id } = await call.sender.send(call, { taskId, ...this.#marks(run, call.call.options) })
      return id
    }
    const options = { ...call.options, taskId, ...this.#marks(run, call.options) }
    await this.#sender.apply({ ...call, options, ...(passed.length === 0 ? {} : { fences: passed }) })
    return taskId
  }

  /** The headers that Celery's beat (from 5.7 on) and django-celery-beat send: result backends of Python look for the name. */
  #marks({ entry, definition }: Run, { headers }: ApplyOptions): ApplyOptions {
    return {
      headers: { ...headers, celery_beat_task: true, periodic_task_name: entry },
      ...(definition.overlap === 'allow' ? {} : { ignoreResult: false }),
    }
  }

  /** One task as a call; a workflow as its signature. */
  async #callOf(run: Run): Promise<OutgoingCall | Signature> {
    const { program, definition, dueMs } = run
    if (program !== undefined) return this.#callOfSignature(await signatureOfProgram(program, run.entry, dueMs))
    const signature = parseSignature(decodeJson(definition.call ?? 'null'), `the call of ${run.entry}`)
    const { subtask_type: type, ...rest } = signature
    // The members of a workflow stay as they were written.
    if (isWorkflow(signature.task, type)) {
      // Which words there are is checked by whoever sends it.
      const subtaskType = type as Call['subtaskType']
      return new Signature({ ...rest, options: applyOptionsOf(rest.options), subtaskType }, this.#sender)
    }
    return {
      task: signature.task,
      definition: this.#core.registry.get(signature.task),
      args: signature.args,
      kwargs: signature.kwargs,
      options: applyOptionsOf(signature.options),
      embed: embedFrom(signature.options),
    }
  }

  #callOfSignature(signature: Signature): OutgoingCall | Signature {
    const { task, args, kwargs, options, subtaskType } = signature.call
    if (isWorkflow(task, subtaskType)) return signature
    return { task, definition: this.#core.registry.get(task), args, kwargs, options }
  }
}

function isWorkflow(task: string, subtaskType: string | null): boolean {
  return subtaskType !== null || /^celery\.(starmap|map|chunks)$/.test(task)
}

async function signatureOfProgram({ signature, entry }: ProgramEntry, name: string, dueMs: number): Promise<Signature> {
  if (signature !== undefined) return signature
  const { task, options = {} } = entry
  const made = typeof task === 'function' ? await task({ entry: name, dueAt: new Date(dueMs) }) : task
  if (typeof made === 'string') throw new OptionInvalidError(`what ${name} makes when it is due`, 'a signature such as add.s(1, 2)', made)
  return signatureOf(made).set(options)
}
