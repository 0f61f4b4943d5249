import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { AsyncResult, Enqueued } from '../canvas/handles.js'
import type { ApplyOptions } from '../canvas/sig.js'
import { listOf, type Signature, type SignatureSender, signatureOf } from '../canvas/signature.js'
import { NotPublishedError, NotSupportedError, TooLargeError } from '../errors.js'
import { toMs } from '../internal/duration.js'
import { newTaskId } from '../internal/task-id.js'
import type { Message } from '../protocol/message.js'
import { type Embed, emptyEmbed } from '../protocol/task-body.js'
import { encodeTask, type TaskCall } from '../protocol/task-message.js'
import { toIso } from '../protocol/time.js'
import { type Arguments, checkCall } from './arguments.js'
import { enqueued, type ResultAccess, StoredResult } from './async-result.js'
import { checkCallOptions, checkPriority, timeOf } from './call-options.js'
import { runningTask } from './context.js'
import type { AppCore } from './core.js'
import { Publisher } from './publisher.js'
import { checkName } from './registry.js'
import type { Routed } from './routes.js'
import type { TaskDefinition } from './task.js'

/** A call on its way: the task by name, and its definition when this app has it. */
export interface OutgoingCall extends Arguments {
  readonly task: string
  readonly definition: TaskDefinition | undefined
  readonly options: ApplyOptions
  /** Links as they came in a message, instead of those of the options. */
  readonly embed?: Embed
  /** The task that sends it, when it is not the one that runs here. */
  readonly rootId?: string | undefined
  readonly parentId?: string | undefined
  /** Its place in a workflow, and where its result goes on brokers that carry results. */
  readonly groupId?: string | undefined
  readonly groupIndex?: number | undefined
  readonly replacedTaskNesting?: number | undefined
  readonly replyTo?: string | undefined
}

/** A call as it goes to the broker. */
export interface Prepared {
  readonly id: string
  readonly message: Message
  readonly routed: Routed
  readonly notBefore: number | undefined
}

/** Runs a call here and now: `taskAlwaysEager`. */
export type EagerRunner = (call: OutgoingCall, id: string) => Promise<AsyncResult<unknown>>

/** From a call to a message at the broker: ids, options by precedence, routes, serializer. */
export class Sender implements SignatureSender {
  readonly #core: AppCore
  readonly #access: ResultAccess
  readonly #publisher: Publisher
  readonly #runEagerly: EagerRunner
  readonly #origin = `gen${process.pid}@${hostname()}`
  readonly #replyTo = randomUUID()

  constructor(core: AppCore, access: ResultAccess, runEagerly: EagerRunner) {
    this.#core = core
    this.#access = access
    this.#publisher = new Publisher(core)
    this.#runEagerly = runEagerly
  }

  /** Signatures of this app send themselves through it. */
  send(signature: Signature, options: ApplyOptions): Enqueued<unknown> {
    const { task, args, kwargs, options: own, subtaskType } = signature.call
    if (subtaskType !== null || task === 'celery.starmap' || task === 'celery.map' || task === 'celery.chunks') {
      return refused(
        options.taskId ?? own.taskId,
        new NotSupportedError(
          `running a ${task.slice('celery.'.length)}`,
          'workflows (canvas) are data only in this version: link single tasks instead',
        ),
      )
    }
    return this.apply({ task, definition: this.#core.registry.get(task), args, kwargs, options: { ...own, ...options } })
  }

  apply<R>(call: OutgoingCall): Enqueued<R> {
    const id = call.options.taskId ?? newTaskId(this.#core.clock.now())
    // The result's type is the caller's claim: tasks run elsewhere.
    return enqueued(id, this.#send(call, id) as Promise<AsyncResult<R>>)
  }

  /** A message that was made elsewhere (a retry, a link) to where it belongs. */
  publish(prepared: Pick<Prepared, 'message' | 'routed' | 'notBefore'>): Promise<void> {
    return this.#publisher.publish(prepared, {})
  }

  /** The call as a message, and where it goes. Throws (or rejects) for arguments that do not fit the task or cannot be written. */
  async prepare(call: OutgoingCall, id: string): Promise<Prepared> {
    checkName('task', call.task)
    checkName('task id', id)
    const options = this.#withDefaults(call)
    checkCallOptions(options)
    const arguments_ = call.definition === undefined ? call : checkCall(call.definition, call)
    const { args, kwargs } = arguments_ instanceof Promise ? await arguments_ : arguments_
    const { config, clock, routes, serializers } = this.#core
    const parent = runningTask()
    const inherited = config.taskInheritParentPriority ? parent?.priority : undefined
    const routed = routes.route({
      task: call.task,
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
      priority: checkPriority(routed.priority ?? config.taskDefaultPriority ?? 0),
      replyTo: call.replyTo ?? this.#replyTo,
      deliveryMode: config.taskDefaultDeliveryMode,
    }
    const serializer = serializers.get(options.serializer ?? config.taskSerializer)
    const encoded = encodeTask(task, serializer instanceof Promise ? await serializer : serializer)
    const compression = options.compression ?? config.taskCompression
    const message = compression === null || compression === undefined ? encoded : serializers.compress(encoded, compression)
    this.#checkSize(message, call.task)
    return { id, message, routed, notBefore: etaMs !== undefined && etaMs > now ? etaMs : undefined }
  }

  async #send(call: OutgoingCall, id: string): Promise<AsyncResult<unknown>> {
    const { hooks, config } = this.#core
    const sendNow = (now: OutgoingCall): Promise<AsyncResult<unknown>> =>
      config.taskAlwaysEager ? this.#runEagerly(now, id) : this.#sendNow(now, id)
    if (!hooks.publishes) return sendNow(call)
    const given = { task: call.task, args: [...call.args], kwargs: { ...call.kwargs }, headers: { ...call.options.headers } }
    let result: AsyncResult<unknown> | undefined
    await hooks.publish(given, async () => {
      const { args, kwargs, headers } = given
      result = await sendNow({ ...call, args, kwargs, options: { ...call.options, headers } })
    })
    if (result === undefined)
      throw new NotPublishedError(`a publish middleware did not pass the call of ${call.task} on: it must call next() or throw`)
    return result
  }

  async #sendNow(call: OutgoingCall, id: string): Promise<AsyncResult<unknown>> {
    const { retry, signal } = call.options
    signal?.throwIfAborted()
    const prepared = await this.prepare(call, id)
    const { hooks, log } = this.#core
    if (!hooks.silent('beforeTaskPublish')) hooks.emit('beforeTaskPublish', { task: call.task, id, headers: prepared.message.headers }, log)
    await this.#publisher.publish(prepared, { retry, signal })
    runningTask()?.children.push([[id, null], null])
    if (!hooks.silent('afterTaskPublish')) hooks.emit('afterTaskPublish', { task: call.task, id }, log)
    return new StoredResult(id, this.#access)
  }

  /** The call's own options over the task's. */
  #withDefaults({ definition, options }: OutgoingCall): ApplyOptions {
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

function withoutUndefined(options: { [K in keyof ApplyOptions]: ApplyOptions[K] | undefined }): ApplyOptions {
  // Filtered just here: no value is undefined any more.
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as ApplyOptions
}

function refused(id: string | undefined, error: Error): Enqueued<unknown> {
  return enqueued(id ?? randomUUID(), Promise.reject(error))
}
