/** One Redis server for a test file, and what tests do to it. */
import { afterAll, beforeAll, beforeEach } from 'vitest'
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
  backend(options?: { readonly globalKeyprefix?: string; readonly clock?: Clock; readonly url?: string }): RedisBackend
  /** Everything that expires does so `ms` sooner. */
  pass(ms: number): Promise<void>
}

export const target = (url: string) => redisTarget(url, { clock: systemClock, longestSilenceMs: 7_000 })

/** For the file that calls it: started before its tests, empty before each. What `backend` made is closed after all. */
export function useRedis(): Server {
  let server: Awaited<ReturnType<typeof startRedis>>
  let link: RedisLink
  const opened: RedisBackend[] = []
  beforeAll(async () => {
    server = await startRedis()
    link = await target(server.url).open({ signal: AbortSignal.timeout(5_000), name: 'test' })
  })
  beforeEach(() => server.flush())
  afterAll(async () => {
    for (const backend of opened) await backend.close()
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
    backend({ globalKeyprefix = '', clock = systemClock, url = server.url } = {}) {
      const backend = new RedisBackend(target(url), { globalKeyprefix }, { clock })
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
  if redis.call('TYPE', key).ok == 'zset' then
    for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do redis.call('ZINCRBY', key, -ARGV[1], member) end
  end
end`
