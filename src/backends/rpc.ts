/**
 * Results as messages through RabbitMQ to the process that sent the task, as Celery's `rpc://` has them: Python and Node answer each other. Nothing is stored
 * at a server: what came is kept in this process, and nobody else can ask for it.
 */
import type { BackendSupports, Inbox, ResultBackend, StoreOptions } from '../backend.js'
import { ConnectionError, DecodeError, ResultElsewhereError, show } from '../errors.js'
import type { AmqpMessage } from '../internal/amqp/amqplib.js'
import type { Clock } from '../internal/clock.js'
import { decodeMeta, encodeMeta, type ResultMeta } from '../protocol/result.js'
import { NoChords } from './no-chords.js'
import { ResultWaits } from './result-waits.js'
import type { RpcBrokers } from './rpc/brokers.js'
import { Replies } from './rpc/replies.js'
import { ReplyQueue } from './rpc/reply-queue.js'
import { ReplyWriter } from './rpc/reply-writer.js'

export interface RpcBackendOptions {
  readonly maxReplies: number
  /** Names the queue of this process. */
  readonly replyTo: string
  /** Results outlive a restart of the broker. */
  readonly persistent: boolean
}

export class RpcBackend extends NoChords implements ResultBackend {
  readonly name = 'rpc'
  readonly supports: BackendSupports = { push: true, persistent: false, durableRevoke: false, chords: false, results: true }
  readonly inbox: Inbox
  readonly #replies: Replies
  readonly #queue: ReplyQueue
  readonly #writer: ReplyWriter
  readonly #waits = new ResultWaits({ open: () => {}, close: () => {} })
  #closing: Promise<void> | undefined

  /** Connects when it is first used. */
  constructor(brokers: RpcBrokers, { maxReplies, replyTo, persistent }: RpcBackendOptions, { clock }: { readonly clock: Clock }) {
    super()
    this.#replies = new Replies({ clock, max: maxReplies })
    this.#writer = new ReplyWriter(brokers, { clock, persistent })
    this.#queue = new ReplyQueue(replyTo, brokers, {
      clock,
      onReply: (message) => this.#hear(message),
      onQueueGone: () => this.#loseAll(),
    })
    this.inbox = {
      name: this.#queue.name,
      open: () => this.#queue.open(),
      expect: (taskIds) => this.#replies.expect(taskIds),
      expects: (taskId) => this.#replies.expects(taskId),
    }
  }

  /** True: it was sent. Whether the task had ended before is known only to who asked, and there the first end counts. */
  async store(meta: ResultMeta, { expiresSeconds, replyTo = '', correlationId = '' }: StoreOptions): Promise<boolean> {
    this.#refuseWhenClosed()
    const body = Buffer.from(encodeMeta(meta))
    // Nobody asked.
    if (replyTo === '') return true
    await this.#writer.send({ to: replyTo, correlationId: correlationId || meta.taskId, body, expiresSeconds })
    return true
  }

  async get(taskId: string): Promise<ResultMeta | undefined> {
    return (await this.getMany([taskId])).get(taskId)
  }

  async getMany(taskIds: readonly string[]): Promise<ReadonlyMap<string, ResultMeta>> {
    this.#refuseWhenClosed()
    if (taskIds.length > 0) await this.#queue.caughtUp()
    return this.#replies.among(taskIds)
  }

  async *wait(taskIds: readonly string[], { signal }: { readonly signal: AbortSignal }): AsyncIterable<ResultMeta> {
    this.#refuseWhenClosed()
    const dropped = taskIds.find((taskId) => this.#replies.wasDropped(taskId))
    if (dropped !== undefined)
      throw new ResultElsewhereError(dropped, 'it came, and had to make room for later ones (resultBackendTransportOptions: maxReplies)')
    yield* this.#waits.wait(taskIds, signal, async (ids) => this.#replies.among(ids))
  }

  async forget(taskIds: readonly string[]): Promise<void> {
    this.#refuseWhenClosed()
    this.#replies.forget(taskIds)
  }

  /** Nothing is remembered: workers that are up are told by broadcast. */
  async revoke(): Promise<void> {
    this.#refuseWhenClosed()
  }

  async revoked(): Promise<ReadonlySet<string>> {
    this.#refuseWhenClosed()
    return new Set()
  }

  async cleanup({ nowMs }: { readonly nowMs: number }): Promise<number> {
    this.#refuseWhenClosed()
    return this.#replies.expire(nowMs)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#waits.fail(closedError())
    await Promise.all([this.#queue.close(), this.#writer.close()])
  }

  #hear({ content, properties: { contentType, correlationId, expiration } }: AmqpMessage): void {
    try {
      if (contentType !== 'application/json')
        throw new DecodeError(`expected a result as application/json (result_serializer "json"), got: ${show(contentType)}`)
      const meta = decodeMeta(content)
      const expiresMs = expiration === undefined ? undefined : Number(expiration)
      if (this.#replies.add(meta, { bytes: content.byteLength, expiresMs })) this.#waits.deliver(meta)
    } catch (error) {
      if (correlationId !== undefined) this.#waits.failTask(correlationId, error instanceof Error ? error : new DecodeError(String(error)))
    }
  }

  /** The queue was gone when this process came back: too late, or to another broker. */
  #loseAll(): void {
    this.#replies.expectNothing()
    this.#waits.fail(new ConnectionError('the results are lost: the broker has no more queue for them (rpc://)'))
  }

  #refuseWhenClosed(): void {
    if (this.#closing !== undefined) throw closedError()
  }
}

function closedError(): ConnectionError {
  return new ConnectionError('the rpc result backend is closed')
}
