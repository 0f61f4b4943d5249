import type { Inbox } from '../backend.js'
import type { ApplyOptions } from '../canvas/sig.js'
import { BrokerFullError, ConnectionError, NotPublishedError, PublishUncertainError } from '../errors.js'
import type { Clock } from '../internal/clock.js'
import { toMs } from '../internal/duration.js'
import { failpoint, failpoints } from '../internal/failpoints.js'
import { inTime } from '../internal/in-time.js'
import { mayBeShared } from '../internal/shared-signal.js'
import type { Message } from '../protocol/message.js'
import type { Connection, Fence } from '../transport.js'
import type { AppCore } from './core.js'
import type { Routed } from './routes.js'
import type { PublishedTask } from './signals.js'

export interface Publication {
  readonly message: Message
  readonly routed: Routed
  readonly notBefore: number | undefined
  /** Held by one of them, the publish throws FencedError. */
  readonly fences?: readonly Fence[] | undefined
  /** Where the result comes to: it is there before the message goes out. */
  readonly inbox?: Inbox | undefined
}

/** Puts messages at the broker: declares their queues once a connection, tries again as the retry policy says. */
export class Publisher {
  readonly #core: AppCore
  readonly #declared = new WeakMap<Connection, Map<string, Promise<void>>>()

  constructor(core: AppCore) {
    this.#core = core
  }

  /**
   * Settles when the broker has the message. Throws NotPublishedError (safe to repeat), PublishUncertainError (repeat with the same id), or the reason of a signal that
   * aborted before anything was sent.
   */
  async publish(
    publication: Publication,
    { retry, signal }: { retry?: ApplyOptions['retry']; signal?: AbortSignal | undefined },
  ): Promise<void> {
    const { clock, config } = this.#core
    const startedMs = clock.monotonic()
    const deadlineMs = config.publishTimeout * 1000
    for (let attempt = 0; ; attempt++) {
      // Nothing is at the broker yet.
      signal?.throwIfAborted()
      try {
        const leftMs = deadlineMs - (clock.monotonic() - startedMs)
        await withSignal(this.#publishNow(publication, leftMs) ?? this.#publishOnce(publication, leftMs), signal)
        if (config.taskSendSentEvent) this.#tell(publication)
        return
      } catch (error) {
        if (error instanceof NotPublishedError && !(error instanceof BrokerFullError)) this.#forget(publication)
        const waitMs = this.#retryWaitMs(error, attempt, retry)
        if (waitMs === undefined || clock.monotonic() - startedMs + waitMs >= deadlineMs) throw outcomeOf(error)
        if (waitMs > 0) await pause(clock, waitMs, signal)
      }
    }
  }

  #tell(publication: Publication): void {
    const { task } = publication.message.headers
    const definition = typeof task === 'string' ? this.#core.registry.get(task) : undefined
    if (definition?.options.sendEvents !== false) this.#core.senderEvents().send('task-sent', sentFields(publication))
  }

  async #publishOnce(publication: Publication, deadlineMs: number): Promise<void> {
    const { clock } = this.#core
    const startedMs = clock.monotonic()
    const connection = await inTime(clock, deadlineMs, this.#reach(publication), tooLate)
    await this.#send(connection, publication, deadlineMs - (clock.monotonic() - startedMs))
  }

  /** What has to be there before the message goes out. Nothing of that is at the broker yet. */
  async #reach({ routed, inbox }: Publication): Promise<Connection> {
    const opening = inbox?.open()
    if (opening !== undefined) await opening
    const connection = await this.#core.connections.publisher()
    for (const queue of this.#queuesOf(routed)) {
      const declared = this.#declare(connection, queue)
      if (declared !== undefined) await declared
    }
    return connection
  }

  /** As `#publishOnce`, where nothing has to be waited for before: undefined when something has. */
  #publishNow(publication: Publication, deadlineMs: number): Promise<void> | undefined {
    const { inbox, routed } = publication
    const connection = this.#core.connections.openPublisher
    if (connection === undefined || routed.queue === undefined) return undefined
    if (this.#declared.get(connection)?.get(routed.queue) !== done) return undefined
    const opening = inbox?.open()
    // Waited for, and told of, by who publishes now.
    opening?.catch(() => {})
    return opening === undefined ? this.#send(connection, publication, deadlineMs) : undefined
  }

  #send(connection: Connection, { message, routed, notBefore, fences }: Publication, deadlineMs: number): Promise<void> {
    failpoint('publish.before_send')
    const options = notBefore === undefined ? { deadlineMs } : { deadlineMs, notBefore }
    const published = connection.publish(message, routed.to, fences === undefined ? options : { ...options, fences })
    return failpoints ? published.then(() => failpoint('publish.after_send')) : published
  }

  #queuesOf({ queue, to }: Routed): readonly string[] {
    return queue === undefined ? this.#core.routes.queuesAt(to.exchange) : [queue]
  }

  /** A queue or exchange may have been deleted: the next try declares it again. */
  #forget({ routed }: Publication): void {
    const connection = this.#core.connections.openPublisher
    const queues = connection === undefined ? undefined : this.#declared.get(connection)
    for (const queue of this.#queuesOf(routed)) if (queues?.get(queue) === done) queues.delete(queue)
  }

  /** Undefined when the queue is known to exist. */
  #declare(connection: Connection, queue: string): Promise<void> | undefined {
    let queues = this.#declared.get(connection)
    if (queues === undefined) {
      queues = new Map()
      this.#declared.set(connection, queues)
    }
    const known = queues.get(queue)
    if (known !== undefined) return known === done ? undefined : known
    const declaring = connection.declare(this.#core.routes.topology(queue)).then(
      () => {
        queues.set(queue, done)
      },
      (error: unknown) => {
        queues.delete(queue)
        throw error
      },
    )
    queues.set(queue, declaring)
    return declaring
  }

  /** Undefined: do not try again. A full broker is told at once; an uncertain publish is the caller's decision. */
  #retryWaitMs(error: unknown, attempt: number, retry: ApplyOptions['retry']): number | undefined {
    if (error instanceof BrokerFullError || error instanceof PublishUncertainError) return undefined
    if (!(error instanceof NotPublishedError || error instanceof ConnectionError)) return undefined
    const { taskPublishRetry, taskPublishRetryPolicy: policy } = this.#core.config
    if (retry === false || (retry === undefined && !taskPublishRetry)) return undefined
    const own = typeof retry === 'object' ? retry : {}
    if (attempt >= (own.maxRetries ?? policy.maxRetries)) return undefined
    const start = own.intervalStart === undefined ? policy.intervalStart : toMs(own.intervalStart, 'retry.intervalStart') / 1000
    const step = own.intervalStep === undefined ? policy.intervalStep : toMs(own.intervalStep, 'retry.intervalStep') / 1000
    const max = own.intervalMax === undefined ? policy.intervalMax : toMs(own.intervalMax, 'retry.intervalMax') / 1000
    return Math.min(start + step * attempt, max) * 1000
  }
}

const done = Promise.resolve()

function tooLate(): NotPublishedError {
  return new NotPublishedError('the message was not published: the broker did not answer until the deadline')
}

/** For listeners. */
export function publishedTask({ message, routed: { to } }: Publication): PublishedTask {
  const { headers, body, properties } = message
  return { task: String(headers.task), id: String(headers.id), headers, body, properties, exchange: to.exchange, routingKey: to.routingKey }
}

/** What the message says of itself, and where it went. */
function sentFields({ message: { headers }, routed: { to, queue } }: Publication): Readonly<Record<string, unknown>> {
  return {
    uuid: headers.id,
    root_id: headers.root_id,
    parent_id: headers.parent_id,
    name: headers.task,
    args: headers.argsrepr,
    kwargs: headers.kwargsrepr,
    retries: headers.retries,
    eta: headers.eta,
    expires: headers.expires,
    queue: queue ?? null,
    exchange: to.exchange,
    routing_key: to.routingKey,
  }
}

/** A broker that was not reached has no message. */
function outcomeOf(error: unknown): unknown {
  return error instanceof ConnectionError
    ? new NotPublishedError(`the message was not published: ${error.message}`, { cause: error })
    : error
}

/** Shorter where the caller's signal aborts. */
function pause(clock: Clock, ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      timer.cancel()
      signal?.removeEventListener('abort', end)
      resolve()
    }
    const timer = clock.setTimer(ms, end, { keepAlive: true })
    signal?.addEventListener('abort', end, { once: true })
  })
}

/** The caller's signal ends the wait; the message may have gone out all the same. */
function withSignal<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work
  mayBeShared(signal)
  return new Promise<T>((resolve, reject) => {
    const aborted = (): void =>
      reject(
        new PublishUncertainError('the call was aborted while the broker was asked; it may have the message', { cause: signal.reason }),
      )
    signal.addEventListener('abort', aborted, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', aborted))
  })
}
