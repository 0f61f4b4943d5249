/** One Redis server for a test file, and what tests do to it. */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest'
import { RedisBackend } from '../../dist/backends/redis.js'
import { type Clock, systemClock } from '../../dist/internal/clock.js'
import { type Argument, type RedisLink, type Reply, textOf } from '../../dist/internal/redis/link.js'
import { redisTarget } from '../../dist/internal/redis/target.js'
import { startRedis } from '../../scripts/services.mjs'

export interface Server {
  readonly url: string
  readonly pid: number
  call(command: string, ...args: Argument[]): Promise<Reply>
  /** The text of a key, or undefined. */
  text(key: string): Promise<string | undefined>
  /** How many connections have this name. */
  connections(name: string): Promise<number>
  /** `silenceClock` is the clock by which a link is found to be dead. */
  backend(options?: {
    readonly globalKeyprefix?: string
    readonly resultChordOrdered?: boolean
    readonly clock?: Clock
    readonly url?: string
    readonly silenceClock?: Clock
  }): RedisBackend
  /** Everything that expires does so `ms` sooner. */
  pass(ms: number): Promise<void>
}

export const target = (url: string, clock = systemClock) => redisTarget(url, { clock, longestSilenceMs: 7_000 })

/** For the file that calls it: started before its tests, empty before each. What `backend` made is closed after each. */
export function useRedis(): Server {
  let server: Awaited<ReturnType<typeof startRedis>>
  let link: RedisLink
  const opened: RedisBackend[] = []
  beforeAll(async () => {
    server = await startRedis()
    link = await target(server.url).open({ signal: AbortSignal.timeout(5_000), name: 'test' })
  })
  beforeEach(() => server.flush())
  afterEach(async () => {
    for (const backend of opened.splice(0)) await backend.close()
  })
  afterAll(async () => {
    await link.close()
    await server.stop()
  })
  return {
    get url() {
      return server.url
    },
    get pid() {
      return server.pid
    },
    call: (command, ...args) => link.call(command, args),
    async text(key) {
      const reply = await link.call('GET', [key])
      return reply === null ? undefined : textOf(reply)
    },
    async connections(name) {
      const list = textOf(await link.call('CLIENT', ['LIST'])).split('\n')
      return list.filter((line) => line.includes(` name=${name} `)).length
    },
    backend({ globalKeyprefix = '', resultChordOrdered, clock = systemClock, url = server.url, silenceClock = systemClock } = {}) {
      const backend = new RedisBackend(target(url, silenceClock), { globalKeyprefix, resultChordOrdered }, { clock })
      opened.push(backend)
      return backend
    },
    async pass(ms) {
      await link.call('EVAL', [passScript, 0, ms])
    },
  }
}

const passScript = `
for _, key in ipairs(redis.call('KEYS', '*')) do
  local left = redis.call('PTTL', key)
  if left >= 0 then redis.call('PEXPIRE', key, string.format('%.0f', left - ARGV[1])) end
  if string.find(key, 'revoked') then
    for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do redis.call('ZINCRBY', key, -ARGV[1], member) end
  end
end`

/** A way to the server that can be cut: connections through it break, or are silent. */
export class Gate {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #gate = createServer((client) => {
    const upstream = connect(Number(new URL(this.#server.url).port), '127.0.0.1')
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#sockets.add(from)
      from.on('error', () => undefined)
      from.on('close', () => {
        this.#sockets.delete(from)
        to.destroy()
      })
      from.on('data', (data) => {
        if (from === upstream && this.answersAreLost) return
        to.write(data)
      })
    }
  })
  /** The server hears what is said, and nobody hears the server. */
  answersAreLost = false
  #port = 0

  constructor(server: Server) {
    this.#server = server
  }

  /** Also again after `shut`, on the same port. */
  async open(): Promise<string> {
    this.#gate.listen(this.#port, '127.0.0.1')
    await once(this.#gate, 'listening')
    const address = this.#gate.address()
    if (address !== null && typeof address === 'object') this.#port = address.port
    return `redis://127.0.0.1:${this.#port}/0`
  }

  /** Breaks all connections; new ones are taken. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  /** As a server that is gone. */
  async shut(): Promise<void> {
    const closed = once(this.#gate, 'close')
    this.#gate.close()
    this.cut()
    await closed
  }
}
