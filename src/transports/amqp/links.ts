/**
 * The links of one connection: a server that has too little memory or disk stops reading from those that publish, so that those that consume are others. A
 * program that does only one of both has only one.
 */
import { ConnectionError } from '../../errors.js'
import type { AmqpLink } from '../../internal/amqp/link.js'
import type { AmqpTarget } from '../../internal/amqp/target.js'
import { Deferred } from '../../internal/deferred.js'

type Role = 'publishes' | 'consumes'

/** Beyond the first link; that one has the deadline of who connects. */
const openTimeoutMs = 4_000

export class Links {
  /** Settles once: with the reason when one of them is lost, with undefined after `close()`. */
  readonly ended: Promise<Error | undefined>
  readonly #target: AmqpTarget
  readonly #ended = new Deferred<Error | undefined>()
  readonly #abort = new AbortController()
  readonly #open = new Set<AmqpLink>()
  readonly #roles = new Map<Role, Promise<AmqpLink>>()
  #first: AmqpLink | undefined
  #unassigned: AmqpLink | undefined
  #isEnded = false

  constructor(target: AmqpTarget) {
    this.#target = target
    this.ended = this.#ended.promise
  }

  async start(signal: AbortSignal): Promise<AmqpLink> {
    const link = await this.#connect(signal, 'broker')
    this.#first = link
    this.#unassigned = link
    return link
  }

  get isOpen(): boolean {
    return !this.#isEnded
  }

  /** The one for questions: any. Throws ConnectionError after the end. */
  get first(): AmqpLink {
    if (this.#isEnded || this.#first === undefined) throw new ConnectionError('the connection to RabbitMQ is closed')
    return this.#first
  }

  /** Undefined as long as there is none, or it is being opened. */
  publishing(): Promise<AmqpLink> {
    return this.#link('publishes', () => true)
  }

  /** `blocksUpToSeconds`: see OpenAmqpLink. */
  consuming(blocksUpToSeconds = 0): Promise<AmqpLink> {
    return this.#link('consumes', ({ heartbeat }) => heartbeat === 0 || heartbeat * 1.5 >= blocksUpToSeconds, blocksUpToSeconds)
  }

  /** The link that consumes, if there is one. */
  get consumer(): Promise<AmqpLink> | undefined {
    return this.#roles.get('consumes')
  }

  async close(): Promise<void> {
    const links = [...this.#open]
    this.#end(undefined)
    await Promise.all(links.map((link) => link.close()))
  }

  destroy(reason: Error): void {
    this.#end(reason)
  }

  #link(role: Role, suits: (link: AmqpLink) => boolean, blocksUpToSeconds = 0): Promise<AmqpLink> {
    const known = this.#roles.get(role)
    if (known !== undefined) return known
    if (this.#isEnded) return Promise.reject(new ConnectionError('the connection to RabbitMQ is closed'))
    const unassigned = this.#unassigned
    if (unassigned !== undefined && suits(unassigned)) {
      this.#unassigned = undefined
      const ready = Promise.resolve(unassigned)
      this.#roles.set(role, ready)
      return ready
    }
    const opening = this.#connect(AbortSignal.any([AbortSignal.timeout(openTimeoutMs), this.#abort.signal]), role, blocksUpToSeconds)
    this.#roles.set(role, opening)
    opening.catch((error: unknown) => this.#end(error instanceof Error ? error : new Error(String(error))))
    return opening
  }

  async #connect(signal: AbortSignal, what: string, blocksUpToSeconds = 0): Promise<AmqpLink> {
    const link = await this.#target.open({ signal, name: `celeriac:broker:${what}`, blocksUpToSeconds })
    if (this.#isEnded) {
      await link.close()
      throw new ConnectionError('the connection to RabbitMQ is closed')
    }
    this.#open.add(link)
    void link.ended.then((reason) => this.#end(reason ?? new Error('it was closed')))
    return link
  }

  #end(reason: Error | undefined): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#abort.abort(new ConnectionError('the connection to RabbitMQ is closed'))
    if (reason === undefined) return this.#ended.resolve(undefined)
    for (const link of this.#open) link.destroy(reason)
    this.#ended.resolve(
      reason instanceof ConnectionError
        ? reason
        : new ConnectionError(`the connection to RabbitMQ at ${this.#target.shown} is lost: ${reason.message}`, { cause: reason }),
    )
  }
}
