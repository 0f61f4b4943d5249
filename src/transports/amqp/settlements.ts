/**
 * What became of the deliveries of one channel, whose numbers rise one by one. Acks are gathered over a tick and told in few words: "all up to this one" as far as
 * nothing before it is out, and one by one behind a gap that stays for another tick.
 */
import type { AmqpChannel, AmqpMessage } from '../../internal/amqp/amqplib.js'

const acked = 'acked'
/** The server was told. */
const told = 'told'

interface Out {
  readonly raw: AmqpMessage
  readonly queue: string
}

export class Settlements {
  readonly #api: AmqpChannel
  /** From the lowest that is not done: the message while it is out. */
  #out: (Out | typeof acked | typeof told)[] = []
  #head = 0
  /** The number of the first of `#out`. */
  #first = 1
  #scheduled = false
  /** Acked behind a gap, in this tick and in the one before. */
  #fresh: number[] = []
  #old: number[] = []
  #isOpen = true
  #count = 0

  /** `counts`: the broker counts what is lost on this channel. */
  constructor(
    api: AmqpChannel,
    readonly counts = false,
  ) {
    this.#api = api
  }

  /** Whether the channel is still there: nothing can be said about its deliveries otherwise. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  /** How many are out. */
  get count(): number {
    return this.#count
  }

  received(raw: AmqpMessage, queue: string): void {
    this.#out.push({ raw, queue })
    this.#count++
  }

  /** Those that are out, oldest first. */
  *open(): Iterable<Out> {
    for (let at = this.#head; at < this.#out.length; at++) {
      const state = this.#out[at]
      if (typeof state === 'object') yield state
    }
  }

  /** The same message, in less memory. */
  keep(raw: AmqpMessage): void {
    const at = this.#head + raw.fields.deliveryTag - this.#first
    const state = this.#out[at]
    if (typeof state === 'object') this.#out[at] = { raw, queue: state.queue }
  }

  ack({ fields: { deliveryTag } }: AmqpMessage): void {
    if (!this.#set(deliveryTag, acked)) return
    this.#fresh.push(deliveryTag)
    this.#soon()
  }

  /** Back to its place in the queue. `counted`: a quorum queue counts it on every version. */
  giveBack(message: AmqpMessage, { counted }: { readonly counted: boolean }): void {
    if (!this.#set(message.fields.deliveryTag, told)) return
    // The numbers of acks before it must not be passed by.
    if (counted) this.#api.reject(message, true)
    else this.#api.nack(message, false, true)
    this.#soon()
  }

  /** Writes what is gathered. */
  flush(): void {
    this.#scheduled = false
    if (!this.#isOpen) return
    let last = 0
    let count = 0
    for (; this.#head < this.#out.length; this.#head++, this.#first++) {
      const state = this.#out[this.#head]
      if (typeof state === 'object') break
      if (state !== acked) continue
      last = this.#first
      count++
    }
    if (count > 0) this.#api.ack(tagged(last), count > 1)
    for (const tag of this.#old) this.#ackAlone(tag)
    this.#old = this.#fresh.filter((tag) => tag >= this.#first)
    this.#fresh = []
    if (this.#old.length > 0) this.#soon()
    this.#compact()
  }

  /** Everything that was gathered, without another tick. */
  flushAll(): void {
    this.flush()
    if (this.#old.length > 0) this.flush()
  }

  /** The channel is gone, and with it what is out. */
  lose(): void {
    this.#isOpen = false
    this.#out = []
    this.#count = 0
  }

  #ackAlone(tag: number): void {
    const at = this.#head + tag - this.#first
    if (tag < this.#first || this.#out[at] !== acked) return
    this.#out[at] = told
    this.#api.ack(tagged(tag), false)
  }

  #set(tag: number, state: typeof acked | typeof told): boolean {
    const at = this.#head + tag - this.#first
    if (!this.#isOpen || typeof this.#out[at] !== 'object') return false
    this.#out[at] = state
    this.#count--
    return true
  }

  #soon(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => this.flush())
  }

  #compact(): void {
    if (this.#head < 1_024 || this.#head * 2 < this.#out.length) return
    this.#out = this.#out.slice(this.#head)
    this.#head = 0
  }
}

function tagged(deliveryTag: number): { readonly fields: { readonly deliveryTag: number } } {
  return { fields: { deliveryTag } }
}
