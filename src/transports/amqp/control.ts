/** Questions to the broker, one after the other: a refusal ends their channel, and must not hit another question. */
import { CeleriacError, ConnectionError } from '../../errors.js'
import type { AmqpChannel } from '../../internal/amqp/amqplib.js'
import type { AmqpLink, OpenChannel } from '../../internal/amqp/link.js'
import { refusalOf } from '../../internal/amqp/reply.js'

export class Control {
  readonly #link: () => Promise<AmqpLink>
  #on: AmqpLink | undefined
  #channel: OpenChannel | undefined
  #last: Promise<unknown> = Promise.resolve()

  /** Asked for its link before each question. */
  constructor(link: () => Promise<AmqpLink>) {
    this.#link = link
  }

  /** Rejects with the library's error for what the server refuses, and with ConnectionError when the link is lost. */
  ask<T>(work: (api: AmqpChannel) => Promise<T>): Promise<T> {
    const asked = this.#last.then(() => this.#ask(work))
    this.#last = asked.catch(() => {})
    return asked
  }

  async #ask<T>(work: (api: AmqpChannel) => Promise<T>): Promise<T> {
    const link = await this.#link()
    const unhold = link.hold()
    try {
      if (this.#on !== link || this.#channel?.isOpen !== true) {
        this.#channel = await link.openChannel()
        this.#on = link
      }
      return await work(this.#channel.api)
    } catch (error) {
      if (refusalOf(error) !== undefined || error instanceof CeleriacError) throw error
      throw new ConnectionError(`the connection to RabbitMQ was lost while it was asked`, { cause: error })
    } finally {
      unhold()
    }
  }
}
