/**
 * One connection to a Redis server, whatever client library carries it. It never connects again by itself: when it is lost it has ended, and its owner opens
 * the next, so that every owner decides what is repeated. It keeps the process running only while an answer is due.
 */

/** RESP2, with bulk and simple strings as they came: bytes. */
export type Reply = Buffer | number | null | readonly Reply[]

export type Argument = string | number | Uint8Array

export interface RedisLink {
  /**
   * Sends one command; those of one tick go out together and are answered in order. Rejects with RedisReplyError (the server refused it) or LinkLostError
   * (no answer: the server may have done it).
   */
  call(command: string, args: readonly Argument[]): Promise<Reply>
  /** Only on a link that sends nothing else but PING. A channel may be subscribed twice; the second listener replaces the first. */
  subscribe(channels: readonly string[], listener: Listener): Promise<void>
  /** The same for patterns. */
  psubscribe(patterns: readonly string[], listener: Listener): Promise<void>
  unsubscribe(channels: readonly string[]): Promise<void>
  punsubscribe(patterns: readonly string[]): Promise<void>
  /** Settles once: with the reason when the link is lost, with undefined after `close()`. */
  readonly ended: Promise<Error | undefined>
  /** Waits for the answers that are due, then ends. */
  close(): Promise<void>
  /** Ends now; what was not answered rejects. */
  destroy(reason: Error): void
}

/** A published message: which channel it came on, and its bytes. Must not throw. */
export type Listener = (channel: string, payload: Buffer | null) => void

export interface OpenLink {
  readonly signal: AbortSignal
  /** Shown by CLIENT LIST. */
  readonly name: string
}

/** Where links go to. */
export interface RedisTarget {
  /** For people: without a password. */
  readonly shown: string
  /** The database number, which is part of kombu's channel names. */
  readonly db: number
  /** Names the database among all; undefined when that cannot be told. Two names may be one database. */
  readonly place: string | undefined
  /** A link on which an answer is due for so long is lost. */
  readonly longestSilenceMs: number
  /** How another thread comes to the same target; undefined when only an object of this one knows the way. */
  readonly recipe?: { readonly url: string; readonly options: Readonly<Record<string, unknown>> } | undefined
  /** Rejects with the client library's error. */
  open(options: OpenLink): Promise<RedisLink>
}

/** The server's own words: `READONLY You can't write against a read only replica.` */
export class RedisReplyError extends Error {
  override readonly name = 'RedisReplyError'
  /** The first word: READONLY, OOM, NOSCRIPT, WRONGTYPE, ERR. */
  readonly code: string

  constructor(message: string) {
    super(message)
    // Before Redis 7, what a command in a script met stands behind words of the script.
    const inScript = message.startsWith('ERR Error running script') ? /: -([A-Z]+) /.exec(message)?.[1] : undefined
    this.code = inScript ?? message.split(' ', 1)[0] ?? 'ERR'
  }

  /** The server cannot serve anybody at the moment, or is not the primary any more: another connection may find the one that can. */
  get meansElsewhere(): boolean {
    return elsewhere.has(this.code)
  }
}

const elsewhere: ReadonlySet<string> = new Set(['READONLY', 'LOADING', 'MASTERDOWN', 'UNBLOCKED', 'CLUSTERDOWN'])

export class LinkLostError extends Error {
  override readonly name = 'LinkLostError'
  /** False: nothing went out, so the server cannot have done it. */
  readonly wasSent: boolean

  constructor(message: string, { wasSent = true, ...options }: ErrorOptions & { readonly wasSent?: boolean } = {}) {
    super(message, options)
    this.wasSent = wasSent
  }
}

/** Text of a reply that must be a string. */
export function textOf(reply: Reply | undefined): string {
  if (reply instanceof Buffer) return reply.toString('utf8')
  if (typeof reply === 'number') return String(reply)
  throw new TypeError(`expected text from Redis, got ${reply === undefined ? 'nothing' : JSON.stringify(reply)}`)
}

/** Bytes of a reply that must be a string. */
export function bytesOf(reply: Reply | undefined): Buffer {
  if (reply instanceof Buffer) return reply
  throw new TypeError(`expected bytes from Redis, got ${JSON.stringify(reply ?? null)}`)
}

/** Items of a reply that must be a list. */
export function listOf(reply: Reply | undefined): readonly Reply[] {
  if (Array.isArray(reply)) return reply
  throw new TypeError(`expected a list from Redis, got ${JSON.stringify(reply ?? null)}`)
}

/** A reply that must be an integer. */
export function integerOf(reply: Reply | undefined): number {
  if (typeof reply === 'number') return reply
  throw new TypeError(`expected an integer from Redis, got ${JSON.stringify(reply ?? null)}`)
}
