import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { AsyncResult, Enqueued } from '../canvas/handles.js'
import { mappedTask } from '../canvas/members.js'
import type { Plan, PlannedCall } from '../canvas/plan.js'
import { planSignature } from '../canvas/planner.js'
import type { ApplyOptions } from '../canvas/sig.js'
import { listOf, plainOptions, type Signature, type SignatureSender, signatureOf } from '../canvas/signature.js'
import { TooLargeError } from '../errors.js'
import { toMs } from '../internal/duration.js'
import { newTaskId } from '../internal/task-id.js'
import { JsonText } from '../protocol/json-text.js'
import type { Message } from '../protocol/message.js'
import { idsIn } from '../protocol/result.js'
import { checkSignatures } from '../protocol/signature.js'
import { type Embed, emptyEmbed } from '../protocol/task-body.js'
import { encodeTask, type TaskCall } from '../protocol/task-message.js'
import { toIso } from '../protocol/time.js'
import type { Serializer } from '../serializer.js'
import { encodeJson } from '../serializers/json.js'
import { checkCall } from './arguments.js'
import { enqueued, StoredResult } from './async-result.js'
import { checkCallOptions, checkPriority, timeOf, withCallOptions, withoutUndefined } from './call-options.js'
import { runningTask } from './context.js'
import { outgoingOf } from './continue/outgoing.js'
import type { AppCore } from './core.js'
import { handleOf } from './group-result.js'
import { limitHeaders } from './limit-headers.js'
import type { OutgoingCall } from './outgoing-call.js'
import { throughLayers } from './publish-layers.js'
import { type Publication, Publisher, publishedTask } from './publisher.js'
import { checkName } from './registry.js'
import { needChords, type ResultAccess } from './result-wait.js'
import type { Routed } from './routes.js'
import type { TaskDefinition } from './task.js'
import { UniqueCalls } from './unique-calls.js'
import { Window } from './window.js'

/** Messages of a plan that are on their way at the same time: what comes of a group of 100 000 stays out of memory until its turn. */
const sentAtOnce = 1_000
/** After so many the broker gets what was made: workers begin while the others are made. */
const madeAtOnce = 100

/** A call as it goes to the broker. */
export interface Prepared {
  readonly id: string
  readonly message: Message
  readonly routed: Routed
  readonly notBefore: number | undefined
}

/** A call that may go out. */
interface Checked {
  readonly mapped: string | undefined
  readonly options: ApplyOptions
  readonly checked: Pick<OutgoingCall, 'args' | 'kwargs'>
  readonly serializer: Serializer
}

/** Runs calls and workflows here and now: `taskAlwaysEager`. */
export interface EagerRunner {
  call(call: OutgoingCall, id: string): Promise<AsyncResult<unknown>>
  plan(plan: Plan): Promise<AsyncResult<unknown>>
}

/** From a call to a message at the broker: ids, options by precedence, routes, serializer. */
export class Sender implements SignatureSender {
  readonly #core: AppCore
  readonly #access: ResultAccess
  readonly #publisher: Publisher
  readonly #eager: EagerRunner
  readonly #origin = `gen${process.pid}@${hostname()}`
  readonly #unique: UniqueCalls
  readonly #chordTexts = new WeakMap<object, JsonText>()

  constructor(core: AppCore, access: ResultAccess, eager: EagerRunner) {
    this.#core = core
    this.#access = access
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

  /** A call of a plan as a message. */
  prepareCall(planned: PlannedCall): Prepared | Promise<Prepared> {
    const call = this.#outgoing(planned)
    const { instrument } = this.#core.hooks
    if (instrument === undefined) return this.prepare(call, planned.id)
    const headers = { ...instrument.headers(), ...call.options.headers }
    return this.prepare({ ...call, options: { ...call.options, headers } }, planned.id)
  }

  #outgoing(planned: PlannedCall): OutgoingCall {
    const call = outgoingOf(this.#core, planned)
    const { chord } = planned.embed
    if (typeof chord !== 'object' || chord === null || chord instanceof JsonText) return call
    return { ...call, embed: { ...planned.embed, chord: this.chordText(chord) } }
  }

  /** The body of a chord, checked: one object for all of its header tasks, which may be very many, so it is written once. */
  chordText(chord: object): JsonText {
    let text = this.#chordTexts.get(chord)
    if (text === undefined) {
      checkSignatures([['chord', chord]])
      text = new JsonText(encodeJson(chord, 'embed.chord'))
      this.#chordTexts.set(chord, text)
    }
    return text
  }

  /** The call as a message, and where it goes: a promise only where something is waited for. Throws (or rejects) for arguments that do not fit the task or cannot be written. */
  prepare(call: OutgoingCall, id: string): Prepared | Promise<Prepared> {
    checkName('task', call.task)
    checkName('task id', id)
    // A map or starmap goes where the task goes that it calls, with that one's options.
    const mapped = mappedTask(call.task, call.kwargs)
    const options = this.#withDefaults(mapped === undefined ? call.definition : this.#core.registry.get(mapped), call.options)
    checkCallOptions(options)
    const checked = call.definition === undefined ? call : checkCall(call.definition, call)
    const serializer = this.#core.serializers.get(options.serializer ?? this.#core.config.taskSerializer)
    if (!(checked instanceof Promise) && !(serializer instanceof Promise))
      return this.#written(call, id, { mapped, options, checked, serializer })
    return Promise.all([checked, serializer]).then(([arguments_, loaded]) =>
      this.#written(call, id, { mapped, options, checked: arguments_, serializer: loaded }),
    )
  }

  #written(call: OutgoingCall, id: string, { mapped, options, checked: { args, kwargs }, serializer }: Checked): Prepared {
    const { config, clock, connections, routes, serializers } = this.#core
    const parent = runningTask()
    const inherited = config.taskInheritParentPriority ? parent?.priority : undefined
    const routed = routes.route({
      task: mapped ?? call.task,
      args,
      kwargs,
      queue: options.queue,
      exchange: options.exchange,
      routingKey: options.routingKey,
      priority: options.priority ?? inherited,
    })
    const now = clock.now()
    const etaMs =
      options.eta !== undefined
        ? timeOf(options.eta, 'eta')
        : options.countdown !== undefined
          ? now + toMs(options.countdown, 'countdown')
          : undefined
    const expiresMs =
      options.expires === undefined
        ? undefined
        : options.expires instanceof Date
          ? timeOf(options.expires, 'expires')
          : now + toMs(options.expires, 'expires')
    const timeLimit = options.timeLimit === undefined ? null : toMs(options.timeLimit, 'timeLimit') / 1000
    const softTimeLimit = options.softTimeLimit === undefined ? null : toMs(options.softTimeLimit, 'softTimeLimit') / 1000
    const task: TaskCall = {
      id,
      task: call.task,
      args,
      kwargs,
      embed: call.embed ?? embedOf(options, now),
      shadow: options.shadow ?? null,
      etaIso: etaMs === undefined || (options.eta === undefined && etaMs <= now) ? null : toIso(etaMs, config.timezone),
      expiresIso: expiresMs === undefined ? null : toIso(expiresMs, config.timezone),
      expirationMs: expiresMs === undefined ? null : expiresMs - now,
      timeLimit,
      softTimeLimit,
      rootId: call.rootId ?? parent?.context.request.rootId ?? id,
      parentId: call.parentId ?? parent?.context.request.id ?? null,
      group: call.groupId ?? null,
      groupIndex: call.groupIndex ?? null,
      replacedTaskNesting: call.replacedTaskNesting ?? 0,
      origin: this.#origin,
      ignoreResult: options.ignoreResult ?? null,
      stampedHeaders: options.stamps === undefined ? null : Object.keys(options.stamps),
      ...(options.stamps === undefined ? {} : { stamps: options.stamps }),
      customHeaders: options.headers ?? null,
      ownHeaders: limitHeaders(this.#core, call, routed.queue, { args, kwargs }),
      priority: checkPriority(routed.priority ?? config.taskDefaultPriority ?? 0),
      replyTo: call.replyTo ?? connections.replyTo,
      deliveryMode: config.taskDefaultDeliveryMode,
    }
    const encoded = encodeTask(task, serializer)
    const compression = options.compression ?? config.taskCompression
    const message = compression === null || compression === undefined ? encoded : serializers.compress(encoded, compression)
    this.#checkSize(message, call.task)
    return { id, message, routed, notBefore: etaMs !== undefined && etaMs > now ? etaMs : undefined }
  }

  async #send(call: OutgoingCall, id: string): Promise<AsyncResult<unknown>> {
    if (call.options.unique === undefined) return throughLayers(this.#core, call, id, (now) => this.#sendOne(now, id))
    return throughLayers(this.#core, call, id, (now) => this.#unique.send(now, id, (free) => this.#sendOne(free, id)))
  }

  async #sendOne(call: OutgoingCall, id: string): Promise<AsyncResult<unknown>> {
    if (this.#core.config.taskAlwaysEager) return this.#eager.call(call, id)
    await this.#sendNow(call, id)
    runningTask()?.children.push([[id, null], null])
    return new StoredResult(id, this.#access)
  }

  async #sendPlan(plan: Plan, options: Pick<ApplyOptions, 'retry' | 'signal'>): Promise<AsyncResult<unknown>> {
    const { connections, config } = this.#core
    if (config.taskAlwaysEager) return this.#eager.plan(plan)
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
    runningTask()?.children.push(plan.started)
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
            body: this.chordText(step.body),
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
      const call = this.#outgoing(planned)
      const { id } = planned
      return throughLayers(this.#core, { ...call, options: { ...call.options, retry, signal } }, id, (now) => this.#sendNow(now, id))
    } catch (error) {
      return Promise.reject(error)
    }
  }

  async #sendNow(call: OutgoingCall, id: string): Promise<void> {
    const { retry, signal } = call.options
    signal?.throwIfAborted()
    const preparing = this.prepare(call, id)
    const prepared = preparing instanceof Promise ? await preparing : preparing
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

  /** The call's own options over the task's. */
  #withDefaults(definition: TaskDefinition | undefined, options: ApplyOptions): ApplyOptions {
    if (definition === undefined) return options
    const { queue, routingKey, priority, serializer, compression, expires } = definition.options
    if (
      queue === undefined &&
      routingKey === undefined &&
      priority === undefined &&
      serializer === undefined &&
      compression === undefined &&
      expires === undefined
    )
      return options
    return withoutUndefined({
      queue: options.exchange === undefined ? queue : undefined,
      routingKey,
      priority,
      serializer,
      compression,
      expires,
      ...withoutUndefined(options),
    })
  }

  #checkSize(message: Message, task: string): void {
    const { messageMaxBytes, messageWarnBytes } = this.#core.config
    const { body } = message
    const limit = Math.min(messageMaxBytes ?? Number.POSITIVE_INFINITY, messageWarnBytes ?? Number.POSITIVE_INFINITY)
    // A UTF-16 unit becomes at most three bytes: small bodies need no count.
    if (body.length * 3 <= limit) return
    const bytes = typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength
    if (messageMaxBytes !== null && bytes > messageMaxBytes) throw new TooLargeError(`the message body of ${task}`, bytes, messageMaxBytes)
    if (messageWarnBytes !== null && bytes > messageWarnBytes) {
      this.#core.log.warn(
        { task, bytes },
        `the message body of ${task} has ${bytes} bytes: send a reference (a key, a URL) instead of large data`,
      )
    }
  }
}

/** Links get their ids now, so that a redelivered task cannot send a second one under another id. */
function embedOf({ link, linkError }: ApplyOptions, nowMs: number): Embed {
  if (link === undefined && linkError === undefined) return emptyEmbed
  const withIds = (sigs: ApplyOptions['link']): unknown[] | null => {
    const list = listOf(sigs).map((sig) => {
      const signature = signatureOf(sig)
      return signature.set({ taskId: signature.call.options.taskId ?? newTaskId(nowMs) }).toJSON()
    })
    return list.length === 0 ? null : list
  }
  return { callbacks: withIds(link), errbacks: withIds(linkError), chain: null, chord: null }
}

/** When what was published in this turn of the event loop is on its way. */
function turnOfLoop(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
