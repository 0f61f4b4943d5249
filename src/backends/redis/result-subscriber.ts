/** One connection hears of all tasks that this process waits for. It is open while anybody waits, and somewhat longer. */
import type { Clock, Timer } from '../../internal/clock.js'
import type { Listener, RedisTarget } from '../../internal/redis/link.js'
import { LinkHolder } from './link-holder.js'

const channelsAtOnce = 1_000
/** Programs ask for one result after the other: they need not connect for each. */
const idleMs = 5_000
/** A connection that is dead without a word is found by a question: what is published makes no answer due. */
const pingMs = 5_000
const pauseMs = 250

export interface SubscriberOptions {
  /** Shown by CLIENT LIST. */
  readonly name: string
  readonly clock: Clock
  readonly onMessage: (channel: string, payload: Buffer) => void
  /** Channels that somebody waits for. */
  readonly wanted: () => readonly string[]
  readonly isWanted: (channel: string) => boolean
  /** The connection was lost, and all that is wanted is subscribed again: what was published meanwhile must be read. */
  readonly reread: () => Promise<void>
  /** The connection was lost: nothing is heard until `reread`. */
  readonly onLost?: () => void
}

export class ResultSubscriber {
  readonly #options: SubscriberOptions
  readonly #holder: LinkHolder
  readonly #leaving = new Set<string>()
  readonly #listener: Listener = (channel, payload) => {
    if (payload !== null) this.#options.onMessage(channel, payload)
  }
  #losses = 0
  #isRecovering = false
  #isClosed = false
  #idle: Timer | undefined
  #ping: Timer | undefined

  constructor(target: RedisTarget, options: SubscriberOptions) {
    this.#options = options
    this.#holder = new LinkHolder(target, { clock: options.clock, name: options.name, onLost: () => this.#onLost() })
  }

  /** Somebody waits. */
  open(): void {
    this.#idle?.cancel()
    this.#pingLater()
  }

  /** Nobody waits any more. */
  rest(): void {
    this.#ping?.cancel()
    if (!this.#isClosed) this.#idle = this.#options.clock.setTimer(idleMs, () => void this.#holder.release())
  }

  /** Resolves when all that is published on these channels from now on will be heard. Rejects with ConnectionError. */
  async listen(channels: readonly string[]): Promise<void> {
    // Those that are subscribed already are named again: the answer comes after the one to the first time.
    await this.#holder.run((link) => Promise.all(chunks(channels).map((some) => link.subscribe(some, this.#listener))))
  }

  /** Unless somebody wants one of them again in this tick. */
  unlisten(channels: readonly string[]): void {
    if (this.#leaving.size === 0) setImmediate(() => this.#leave())
    for (const channel of channels) this.#leaving.add(channel)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#idle?.cancel()
    this.#ping?.cancel()
    await this.#holder.close()
  }

  #leave(): void {
    const { link } = this.#holder
    const channels = [...this.#leaving].filter((channel) => !this.#options.isWanted(channel))
    this.#leaving.clear()
    // A link that is lost has forgotten them, too.
    if (link !== undefined) for (const some of chunks(channels)) link.unsubscribe(some).catch(() => undefined)
  }

  #onLost(): void {
    this.#losses++
    this.#options.onLost?.()
    if (!this.#isRecovering) void this.#recover()
  }

  /** Never rejects: goes on until the waits know what happened meanwhile, or there are none. */
  async #recover(): Promise<void> {
    this.#isRecovering = true
    for (;;) {
      const losses = this.#losses
      const wanted = this.#options.wanted()
      if (this.#isClosed || wanted.length === 0) break
      try {
        await this.listen(wanted)
        await this.#options.reread()
        if (losses === this.#losses) break
      } catch {
        // The waits go on, each until its own signal at the latest: a server that is away comes back, a wrong password is put right.
        await new Promise<void>((resolve) => this.#options.clock.setTimer(pauseMs, resolve))
      }
    }
    this.#isRecovering = false
  }

  #pingLater(): void {
    this.#ping?.cancel()
    this.#ping = this.#options.clock.setTimer(pingMs, () => {
      // What becomes of it is told by the end of the link.
      this.#holder.link?.call('PING', []).catch(() => undefined)
      this.#pingLater()
    })
  }
}

function chunks(channels: readonly string[]): (readonly string[])[] {
  const all: (readonly string[])[] = []
  for (let at = 0; at < channels.length; at += channelsAtOnce) all.push(channels.slice(at, at + channelsAtOnce))
  return all
}
