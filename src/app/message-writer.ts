import { hostname } from 'node:os'
import { mappedTask } from '../canvas/members.js'
import type { PlannedCall } from '../canvas/plan.js'
import type { ApplyOptions } from '../canvas/sig.js'
import { listOf, signatureOf } from '../canvas/signature.js'
import { TooLargeError } from '../errors.js'
import { toMs } from '../internal/duration.js'
import { newTaskId } from '../internal/task-id.js'
import { JsonText } from '../protocol/json-text.js'
import type { Message } from '../protocol/message.js'
import { checkSignatures } from '../protocol/signature.js'
import { type Embed, emptyEmbed } from '../protocol/task-body.js'
import { encodeTask, type TaskCall } from '../protocol/task-message.js'
import { toIso } from '../protocol/time.js'
import type { Serializer } from '../serializer.js'
import { encodeJson } from '../serializers/json.js'
import { checkCall } from './arguments.js'
import { checkCallOptions, checkPriority, timeOf, withoutUndefined } from './call-options.js'
import { runningTask } from './context.js'
import { outgoingOf } from './continue/outgoing.js'
import type { AppCore } from './core.js'
import { limitHeaders } from './limit-headers.js'
import type { OutgoingCall } from './outgoing-call.js'
import { checkName } from './registry.js'
import type { Routed } from './routes.js'
import type { TaskDefinition } from './task.js'

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

/** Writes calls as messages: options by precedence, the route, the serializer. */
export class MessageWriter {
  readonly #core: AppCore
  readonly #origin = `gen${process.pid}@${hostname()}`
  readonly #chordTexts = new WeakMap<object, JsonText>()

  constructor(core: AppCore) {
    this.#core = core
  }

  /** A call of a plan as a message. */
  writePlanned(planned: PlannedCall): Prepared | Promise<Prepared> {
    const call = this.outgoing(planned)
    const { instrument } = this.#core.hooks
    if (instrument === undefined) return this.write(call, planned.id)
    const headers = { ...instrument.headers(), ...call.options.headers }
    return this.write({ ...call, options: { ...call.options, headers } }, planned.id)
  }

  /** A call of a plan, as it goes through the layers. */
  outgoing(planned: PlannedCall): OutgoingCall {
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
  write(call: OutgoingCall, id: string): Prepared | Promise<Prepared> {
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
