import { randomUUID } from 'node:crypto'
import type { Inbox, ResultBackend } from '../backend.js'
import { ConnectionError, OptionInvalidError, OptionUnknownError } from '../errors.js'
import type { Address } from '../internal/address.js'
import type { Clock } from '../internal/clock.js'
import type { LimitStore } from '../limit-store.js'
import { openLimitStore } from '../limits/index.js'
import type { Connection, Transport } from '../transport.js'

/** How drivers are opened: the real ones by their address, or a test's own. */
export interface Drivers {
  openTransport(address: Address): Promise<Transport>
  /** `replyTo` names the inbox of a backend that has one. */
  openBackend(address: Address, options: { readonly replyTo: string }): Promise<ResultBackend>
  /** Missing: there is none. */
  openLimits?(): Promise<LimitStore>
}

export interface ConnectionsOptions {
  /** Tried in order until one answers. */
  readonly brokers: readonly Address[]
  readonly backend: Address
  /** The backend has an inbox. Default: no. */
  readonly hasInbox?: boolean
  readonly connectTimeoutMs: number
  readonly clock: Clock
  readonly drivers: Drivers
}

/** The broker connection and the result backend of one app in one process: opened on first use, opened again after a loss. */
export class Connections {
  /** Of this app in this process; goes with every task that it sends, as Celery has it whatever the backend is. */
  readonly replyTo = randomUUID()
  readonly #options: ConnectionsOptions
  readonly #transports = new Map<Address, Promise<Transport>>()
  readonly #transportsOf = new WeakMap<Connection, Transport>()
  #publisher: Promise<Connection> | undefined
  #openPublisher: Connection | undefined
  #backend: Promise<ResultBackend> | undefined
  #limits: Promise<LimitStore> | undefined
  #blocksUpToMs = 0

  constructor(options: ConnectionsOptions) {
    this.#options = options
  }

  /** The connection that this process publishes on. */
  publisher(): Promise<Connection> {
    if (this.#publisher !== undefined) return this.#publisher
    const opening = this.connect()
    this.#publisher = opening
    // Only this one: after close() there may be another by now.
    const forget = (): void => {
      if (this.#publisher !== opening) return
      this.#publisher = undefined
      this.#openPublisher = undefined
    }
    opening.then((connection) => {
      if (this.#publisher === opening) this.#openPublisher = connection
      return connection.closed.then(forget)
    }, forget)
    return opening
  }

  /** The same where it is there already. */
  get openPublisher(): Connection | undefined {
    return this.#openPublisher
  }

  /** What a connection of this app goes through. */
  transportOf(connection: Connection): Transport | undefined {
    return this.#transportsOf.get(connection)
  }

  /** From here on connections are opened that outlive it when this process is blocked for so long: see ConnectOptions. */
  blocksUpTo(ms: number): void {
    this.#blocksUpToMs = Math.max(this.#blocksUpToMs, ms)
  }

  /** A connection of its own, to consume on: to the first broker of the list that answers. Throws what the last one said, and what is wrong with the options at once. */
  async connect(): Promise<Connection> {
    let last: unknown
    for (const address of this.#options.brokers) {
      try {
        return await this.#connectTo(address)
      } catch (error) {
        // Another broker may answer; a wrong option stays wrong.
        if (error instanceof OptionInvalidError || error instanceof OptionUnknownError) throw error
        last = error
      }
    }
    throw last
  }

  async #connectTo(address: Address): Promise<Connection> {
    const { clock, connectTimeoutMs } = this.#options
    const transport = await this.#transport(address)
    const deadline = new AbortController()
    const timer = clock.setTimer(connectTimeoutMs, () =>
      deadline.abort(new ConnectionError(`the ${transport.name} broker did not answer within ${connectTimeoutMs / 1000} s`)),
    )
    try {
      const connection = await transport.connect({ signal: deadline.signal, blocksUpToMs: this.#blocksUpToMs })
      this.#transportsOf.set(connection, transport)
      return connection
    } finally {
      timer.cancel()
    }
  }

  #transport(address: Address): Promise<Transport> {
    const known = this.#transports.get(address)
    if (known !== undefined) return known
    const opening = this.#options.drivers.openTransport(address)
    this.#transports.set(address, opening)
    opening.catch(() => this.#transports.delete(address))
    return opening
  }

  backend(): Promise<ResultBackend> {
    if (this.#backend !== undefined) return this.#backend
    const opening = this.#options.drivers.openBackend(this.#options.backend, { replyTo: this.replyTo })
    this.#backend = opening
    forgetAtItsEnd(opening, () => {
      if (this.#backend === opening) this.#backend = undefined
    })
    return opening
  }

  /** What limits the whole cluster, and keeps locks. Throws NotSupportedError where there is no place for it. */
  limits(): Promise<LimitStore> {
    const { openLimits = () => openLimitStore(undefined, this.#options) } = this.#options.drivers
    if (this.#limits !== undefined) return this.#limits
    const opening = openLimits()
    this.#limits = opening
    forgetAtItsEnd(opening, () => {
      if (this.#limits === opening) this.#limits = undefined
    })
    return opening
  }

  /** Where results come to this process, if they come as messages. Opens no other backend than one that has this. */
  inbox(): Promise<Inbox | undefined> | undefined {
    return this.#options.hasInbox === true ? this.backend().then(({ inbox }) => inbox) : undefined
  }

  /** Closes what was opened. The next use opens again. */
  async close(): Promise<void> {
    const [publisher, backend, limits] = [this.#publisher, this.#backend, this.#limits]
    this.#publisher = undefined
    this.#openPublisher = undefined
    this.#backend = undefined
    this.#limits = undefined
    this.#transports.clear()
    await publisher?.then((connection) => connection.close(), ignoreFailedOpen)
    await backend?.then((opened) => opened.close(), ignoreFailedOpen)
    await limits?.then((opened) => opened.close(), ignoreFailedOpen)
  }
}

/** What could not be opened, or is of no more use, is opened anew by who asks next. */
function forgetAtItsEnd(
  opening: Promise<{ readonly ended?: Promise<Error> | undefined; close(): Promise<void> }>,
  forget: () => void,
): void {
  const left = (opened: { close(): Promise<void> }): void => {
    forget()
    opened.close().catch(() => {})
  }
  opening.then((opened) => void opened.ended?.then(() => left(opened)), forget)
}

/** Whoever asked for the connection was told that it failed; there is nothing to close. */
function ignoreFailedOpen(): void {}
