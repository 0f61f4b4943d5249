/**
 * One AMQP connection. It never connects again by itself: when it is lost it has ended, and its owner opens the next. It keeps the process running only while
 * somebody holds it.
 */
import type { AmqpChannel, AmqpConfirmChannel, AmqplibModel } from './amqplib.js'
import { wordsOf } from './reply.js'

/** For the answer of a server that is told that the connection ends. */
const closingMs = 5_000

/** A channel, and whether it is still one: its methods throw when it is not. */
export interface OpenChannel<Channel extends AmqpChannel = AmqpChannel> {
  readonly api: Channel
  readonly isOpen: boolean
  /** Settles once: with the reason when it is lost, with undefined after `close()`. */
  readonly ended: Promise<Error | undefined>
  /** Waits for what was written before; safe twice. What was delivered on it and not settled goes back. */
  close(): Promise<void>
}

/** Lets go of a link; safe twice. */
export type Unhold = () => void

export class AmqpLink {
  /** Settles once: with the reason when the link is lost, with undefined after `close()`. */
  readonly ended: Promise<Error | undefined>
  /** Of the server: `RabbitMQ`. */
  readonly product: string
  /** Of the server: 3.10 is 310, 4.2 is 402. 0 where it does not say. */
  readonly version: number
  /** Seconds; 0 is none. */
  readonly heartbeat: number
  /** Told each time the server begins or ceases to refuse messages. Must not throw. */
  onBlocked: (() => void) | undefined
  readonly #model: AmqplibModel
  #isOpen = true
  #lost: Error | undefined
  #blocked: string | undefined
  #holds = 0
  #closing: Promise<void> | undefined

  constructor(model: AmqplibModel) {
    this.#model = model
    const { serverProperties, heartbeat } = model.connection
    this.product = String(serverProperties.product ?? '')
    this.version = versionOf(serverProperties.version)
    this.heartbeat = heartbeat
    this.ended = new Promise((resolve) => {
      model.on('error', (error) => {
        this.#lost ??= error
      })
      model.on('close', (error) => {
        this.#isOpen = false
        const reason = this.#closing === undefined ? (this.#lost ?? error ?? new Error('the server closed the connection')) : undefined
        // The library half-closes: a server that is silent would keep the socket for ever.
        model.connection.stream.destroy()
        resolve(reason === undefined ? undefined : new Error(wordsOf(reason), { cause: reason }))
      })
    })
    model.on('blocked', (reason) => {
      this.#blocked = reason === '' ? 'it has too little memory or disk space' : reason
      this.onBlocked?.()
    })
    model.on('unblocked', () => {
      this.#blocked = undefined
      this.onBlocked?.()
    })
    this.#rest()
  }

  get isOpen(): boolean {
    return this.#isOpen && this.#closing === undefined
  }

  /** Why the server takes no messages from this link at the moment; undefined when it does. It tells so only after the first message. */
  get blocked(): string | undefined {
    return this.#blocked
  }

  /** The largest message frame, in bytes. */
  get frameMax(): number {
    return this.#model.connection.frameMax
  }

  openChannel(): Promise<OpenChannel> {
    return this.#open(() => this.#model.createChannel())
  }

  /** On it, `publish` is told by callback what became of the message. */
  openConfirmChannel(): Promise<OpenChannel<AmqpConfirmChannel>> {
    return this.#open(() => this.#model.createConfirmChannel())
  }

  /** Keeps the process running until it is called off. */
  hold(): Unhold {
    if (this.#holds++ === 0) this.#model.connection.stream.ref?.()
    let isHeld = true
    return () => {
      if (!isHeld) return
      isHeld = false
      if (--this.#holds === 0) this.#rest()
    }
  }

  /** The same while this work is under way. */
  async holding<T>(work: Promise<T>): Promise<T> {
    const unhold = this.hold()
    try {
      return await work
    } finally {
      unhold()
    }
  }

  /** Waits for what was written before, then ends; safe twice. */
  async close(): Promise<void> {
    if (!this.#isOpen) return
    this.#closing ??= this.#close()
    await this.#closing
  }

  /** Ends now. */
  destroy(reason: Error): void {
    this.#lost ??= reason
    this.#model.connection.stream.destroy(reason)
  }

  async #close(): Promise<void> {
    const abandon = (): void => this.destroy(new Error('the connection could not be closed in order'))
    const closing = this.holding(this.#model.close())
    // A server that takes no messages does not read that this is the end, and one that is gone does not either: neither keeps the process running.
    const timer = setTimeout(abandon, this.#blocked === undefined ? closingMs : 0)
    // The library's answer never comes when the connection is lost meanwhile.
    await Promise.race([closing.catch(abandon), this.ended])
    clearTimeout(timer)
  }

  async #open<Channel extends AmqpChannel>(make: () => Promise<Channel>): Promise<OpenChannel<Channel>> {
    return openChannel(await this.holding(make()))
  }

  #rest(): void {
    const { stream, heartbeater } = this.#model.connection
    stream.unref?.()
    heartbeater?.sendTimer?.unref()
    heartbeater?.recvTimer?.unref()
  }
}

function openChannel<Channel extends AmqpChannel>(api: Channel): OpenChannel<Channel> {
  let isOpen = true
  let lost: Error | undefined
  let closing: Promise<void> | undefined
  const ended = new Promise<Error | undefined>((resolve) => {
    api.on('error', (error) => {
      lost ??= error
    })
    api.on('close', () => {
      isOpen = false
      resolve(closing === undefined ? (lost ?? new Error('the connection of the channel is lost')) : undefined)
    })
  })
  return {
    api,
    ended,
    get isOpen() {
      return isOpen && closing === undefined
    },
    async close() {
      if (!isOpen) return
      closing ??= api.close().catch(() => {})
      // The answer never comes when its connection is lost meanwhile.
      await Promise.race([closing, ended])
    },
  }
}

function versionOf(given: unknown): number {
  const [major = '0', minor = '0'] = String(given ?? '0').split('.')
  return Number.parseInt(major, 10) * 100 + Number.parseInt(minor, 10) || 0
}
