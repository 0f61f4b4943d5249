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
  TimeoutError,
} from '../errors.js'
import { Deferred } from '../internal/deferred.js'
import { parseSignature } from '../protocol/signature.js'
import { resentHeader } from '../protocol/task-headers.js'
import { decodeJson } from '../serializers/json.js'
import type { Fence } from '../transport.js'
import type { Definition, ProgramEntry } from './definition.js'

/** For how long a call may be made that is made when it is due. */
const makingMs = 30_000

export interface Run {
  readonly entry: string
  readonly definition: Definition
  /** The program's own entry, when it is its definition that counts. */
  readonly program: ProgramEntry | undefined
  readonly taskId: string
  readonly dueMs: number
  /** It may have been sent before, and nobody can say. */
  readonly isAgain?: boolean
}

export interface SendGuards {
  /** Undefined for runs that somebody asked for, and on brokers that have none. */
  readonly fences?: RunFences | undefined
  /** Asked last before it is sent: whether this process may still send it. */
  readonly mayStill?: () => boolean
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

  async send(run: Run, guards: SendGuards = {}): Promise<SendOutcome> {
    const progress = { isBegun: false }
    try {
      return await this.#send(run, guards, progress)
    } catch (error) {
      if (error instanceof FencedError) return { status: error.key === guards.fences?.entry.key ? 'sent-before' : 'deposed' }
      const reason = error instanceof Error ? error : new Error(String(error))
      const mayWorkLater = error instanceof NotPublishedError || error instanceof ConnectionError || error instanceof PublishUncertainError
      // A part of a workflow may be on its way: it cannot be sent once more.
      return { status: mayWorkLater && !progress.isBegun ? 'later' : 'failed', error: reason }
    }
  }

  async #send(run: Run, { fences, mayStill }: SendGuards, progress: { isBegun: boolean }): Promise<SendOutcome> {
    const { definition, taskId, isAgain = false } = run
    if (definition.overlap !== 'allow' && !(await this.#core.connections.backend()).supports.results) throw new ResultsDisabledError()
    const call = await this.#callOf(run)
    if (mayStill?.() === false) return { status: 'deposed' }
    const passed = fences === undefined ? [] : [fences.leader, fences.entry]
    if ('sender' in call) {
      // Several messages with ids of their own: who sends them again sends others.
      if (isAgain) return { status: 'sent-before' }
      // The fences are passed first, so that it is sent once at most.
      const connection = await this.#core.connections.publisher()
      if (passed.length > 0) await connection.raiseFences?.(passed)
      progress.isBegun = true
      const { id } = await call.sender.send(call, { taskId, ...this.#marks(run, call.call.options) })
      return { status: 'sent', taskId: id }
    }
    // Without fences each try asks first whether this process leads: the next one is beat's.
    const once = fences === undefined && mayStill !== undefined ? { retry: false as const } : {}
    const options = { ...call.options, taskId, ...once, ...this.#marks(run, call.options) }
    // Of a unique task that is there already: its id.
    const { id } = await this.#sender.apply({ ...call, options, ...(passed.length === 0 ? {} : { fences: passed }) })
    return { status: 'sent', taskId: id }
  }

  /** The headers that Celery's beat (from 5.7 on) and django-celery-beat send: result backends of Python look for the name. */
  #marks({ entry, definition, isAgain = false }: Run, { headers }: ApplyOptions): ApplyOptions {
    return {
      headers: { ...headers, celery_beat_task: true, periodic_task_name: entry, ...(isAgain ? { [resentHeader]: true } : {}) },
      ...(definition.overlap === 'allow' ? {} : { ignoreResult: false }),
    }
  }

  /** One task as a call; a workflow as its signature. */
  async #callOf(run: Run): Promise<OutgoingCall | Signature> {
    const { program, definition, dueMs } = run
    if (program !== undefined) return this.#callOfSignature(await this.#signatureOf(program, run.entry, dueMs))
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
      options: { ...applyOptionsOf(signature.options), ...definition.sending },
      embed: embedFrom(signature.options),
    }
  }

  /** A function that never answers would hold up every other entry. */
  async #signatureOf(program: ProgramEntry, entry: string, dueMs: number): Promise<Signature> {
    const late = new Deferred<never>()
    const timer = this.#core.clock.setTimer(makingMs, () =>
      late.reject(new TimeoutError(`the call of ${entry} was not made within ${makingMs / 1000} s`)),
    )
    try {
      return await Promise.race([signatureOfProgram(program, entry, dueMs), late.promise])
    } finally {
      timer.cancel()
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
