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
  readonly #blocksUpToSeconds: number
  readonly #ended = new Deferred<Error | undefined>()
  readonly #abort = new AbortController()
  readonly #open = new Set<AmqpLink>()
  readonly #roles = new Map<Role, Promise<AmqpLink>>()
  #first: AmqpLink | undefined
  #unassigned: AmqpLink | undefined
  #isEnded = false

  /** `blocksUpToSeconds`: see OpenAmqpLink. */
  constructor(target: AmqpTarget, blocksUpToSeconds: number) {
    this.#target = target
    this.#blocksUpToSeconds = blocksUpToSeconds
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

  publishing(): Promise<AmqpLink> {
    return this.#link('publishes')
  }

  consuming(): Promise<AmqpLink> {
    return this.#link('consumes')
  }

  async close(): Promise<void> {
    const links = [...this.#open]
    this.#end(undefined)
    await Promise.all(links.map((link) => link.close()))
  }

  destroy(reason: Error): void {
    this.#end(reason)
  }

  #link(role: Role): Promise<AmqpLink> {
    const known = this.#roles.get(role)
    if (known !== undefined) return known
    if (this.#isEnded) return Promise.reject(new ConnectionError('the connection to RabbitMQ is closed'))
    const unassigned = this.#unassigned
    if (unassigned !== undefined) {
      this.#unassigned = undefined
      const ready = Promise.resolve(unassigned)
      this.#roles.set(role, ready)
      return ready
    }
    const opening = this.#connect(AbortSignal.any([AbortSignal.timeout(openTimeoutMs), this.#abort.signal]), role)
    this.#roles.set(role, opening)
    opening.catch((error: unknown) => this.#end(error instanceof Error ? error : new Error(String(error))))
    return opening
  }

  async #connect(signal: AbortSignal, what: string): Promise<AmqpLink> {
    const link = await this.#target.open({ signal, name: `celeriac:broker:${what}`, blocksUpToSeconds: this.#blocksUpToSeconds })
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
