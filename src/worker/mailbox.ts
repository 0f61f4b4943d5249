import { randomUUID } from 'node:crypto'
import { DeclarationMismatchError, NotPublishedError } from '../errors.js'
import { type Broadcast, decodeBroadcast, encodeReply, isMeant, mailboxQueue, pidboxExchange, replyExchange } from '../protocol/mailbox.js'
import type { Message } from '../protocol/message.js'
import { pythonError } from '../protocol/python-errors.js'
import { repr } from '../protocol/repr.js'
import { json } from '../serializers/json.js'
import type { Connection, Consumer } from '../transport.js'
import { boundedAnswer, largestAnswer } from './answers.js'
import { handlerOf, isAllowed } from './command-handlers.js'
import { noReply } from './commands/change-worker.js'
import type { Panel } from './panel.js'
import { warnOfTwin } from './twin.js'

/** For the broker to take an answer. */
const publishMs = 4_000

/** Requests to this worker (Celery's pidbox): a queue of its own on the fan-out exchange. One that cannot be read is logged and forgotten. */
export class Mailbox {
  readonly #panel: Panel

  constructor(panel: Panel) {
    this.#panel = panel
  }

  async open(connection: Connection): Promise<Consumer> {
    const queue = await this.#declare(connection)
    return connection.consume({
      queues: [queue],
      prefetch: 100,
      onDeliveries: (deliveries) => {
        for (const delivery of deliveries) {
          delivery.ack()
          void this.#take(delivery.message, connection)
        }
      },
    })
  }

  /** Two workers of one name would share one queue, and each request would reach only one of them. */
  async #declare(connection: Connection): Promise<string> {
    const { core, hostname } = this.#panel
    const namespace = core.config.controlExchange
    const exchanges = [pidboxExchange(namespace), replyExchange(namespace)]
    const name = `${hostname}.${namespace}.pidbox`
    try {
      await connection.declare({ exchanges, queues: [mailboxQueue(name, namespace)] })
      return name
    } catch (error) {
      if (!(error instanceof DeclarationMismatchError) || error.kind !== 'queue') throw error
      warnOfTwin(core, hostname)
      const own = `${hostname}.${randomUUID()}.${namespace}.pidbox`
      await connection.declare({ exchanges, queues: [mailboxQueue(own, namespace)] })
      return own
    }
  }

  /** Never rejects. */
  async #take(message: Message, connection: Connection): Promise<void> {
    const { core, hostname } = this.#panel
    try {
      core.lamport.adjust(message.headers.clock)
      const request = decodeBroadcast(core.serializers.decode(message, { accept: ['json'] }))
      if (!isMeant(request, hostname)) return
      const reply = await this.#run(request)
      if (reply !== noReply) await this.#answer(request, reply, connection)
    } catch (error) {
      core.log.error({ err: error }, 'a remote control request could not be read or answered')
    }
  }

  /** Whoever asks gets an answer in any case, and does not wait in vain. */
  async #run({ method, arguments: args, replyTo }: Broadcast): Promise<unknown> {
    const { core } = this.#panel
    const handler = handlerOf(method) ?? this.#ownHandler(method)
    if (handler === undefined) {
      core.log[replyTo === undefined ? 'debug' : 'error']({ method }, `this worker does not know the command ${method}`)
      return { error: `KeyError(${repr(method)})` }
    }
    if (!isAllowed(core.config.workerControlAllow, method)) {
      core.log.warn({ method }, `the command ${method} was refused: workerControlAllow does not name it`)
      return { error: `this worker does not allow the command ${method}` }
    }
    try {
      return await handler(this.#panel, args)
    } catch (error) {
      core.log.error({ err: error, method }, `the command ${method} failed`)
      const { excType, excMessage } = pythonError(error)
      return { error: `${excType}(${excMessage.map((part) => repr(part)).join(', ')})` }
    }
  }

  /** Commands that the app has added. */
  #ownHandler(method: string): ((panel: Panel, args: Readonly<Record<string, unknown>>) => unknown) | undefined {
    const own = this.#panel.core.commands.get(method)
    if (own === undefined) return undefined
    return ({ hostname }, args) => own.run(args, { hostname })
  }

  async #answer({ ticket, replyTo }: Broadcast, reply: unknown, connection: Connection): Promise<void> {
    if (replyTo === undefined) return
    const { core, hostname } = this.#panel
    const { answer, leftOut } = boundedAnswer(reply)
    if (leftOut > 0) core.log.warn({ left_out: leftOut }, `an answer of over ${largestAnswer} bytes goes without ${leftOut} of its entries`)
    const message = encodeReply(hostname, answer, json, { ticket: ticket ?? '', clock: core.lamport.forward() })
    try {
      await connection.publish(message, replyTo, { deadlineMs: publishMs })
    } catch (error) {
      if (!(error instanceof NotPublishedError)) throw error
      core.log.debug({ err: error }, 'whoever asked is not there any more')
    }
  }
}
