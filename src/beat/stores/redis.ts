/** Schedules in Redis: entries in a hash, their revisions in a sorted set, the lease in a key that expires. */
import { randomUUID } from 'node:crypto'
import type { Clock } from '../../internal/clock.js'
import { integerOf, listOf, type RedisTarget, textOf } from '../../internal/redis/link.js'
import { Script } from '../../internal/redis/script.js'
import { StoreLink } from '../../internal/redis/store-link.js'
import type { HistoryRow, Leadership, ScheduleStore, StoreChange, StoredEntry, WriteOutcome } from '../../schedule-store.js'

/** KEYS: lease, token. ARGV: owner, ms. Gives whether it leads, the token, the owner. */
const leadScript = new Script(
  `
local owner = redis.call('GET', KEYS[1])
if owner == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
elseif not owner then
  redis.call('INCR', KEYS[2])
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  owner = ARGV[1]
end
return {owner == ARGV[1] and 1 or 0, redis.call('GET', KEYS[2]), owner}
`,
)

/** KEYS: lease. ARGV: owner. */
const resignScript = new Script(`if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1`)

/**
 * KEYS: token, revision, entries, revisions, those of removed entries, and the histories of the rows. ARGV: the writer's token or '', how many history rows are kept, how many entries, then
 * of each: name, revision, data or '' to remove it; then of each row: the number of its history, the text. Histories go 400 days after their last row;
 * that an entry was removed is forgotten a thousand revisions later, of a hundred with each write: no reader is so far behind for long.
 * Gives {1, revision}, {0} for a leader that is none any more, or {-1, names..} of entries with other revisions.
 */
const writeScript = new Script(
  `
if ARGV[1] ~= '' and redis.call('GET', KEYS[1]) ~= ARGV[1] then return {0} end
local count, changed = tonumber(ARGV[3]), {-1}
for i = 1, count do
  local name, from = ARGV[3 * i + 1], ARGV[3 * i + 2]
  local found = redis.call('HEXISTS', KEYS[3], name) == 1 and redis.call('ZSCORE', KEYS[4], name) or '0'
  if tonumber(found) ~= tonumber(from) then changed[#changed + 1] = name end
end
if #changed > 1 then return changed end
local revision = redis.call('INCR', KEYS[2])
for i = 1, count do
  local name, data = ARGV[3 * i + 1], ARGV[3 * i + 3]
  if data == '' then
    redis.call('HDEL', KEYS[3], name)
    redis.call('ZADD', KEYS[5], revision, name)
  else
    redis.call('HSET', KEYS[3], name, data)
    redis.call('ZREM', KEYS[5], name)
  end
  redis.call('ZADD', KEYS[4], revision, name)
end
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', revision - 1000, 'LIMIT', 0, 100)) do
  redis.call('ZREM', KEYS[4], name)
  redis.call('ZREM', KEYS[5], name)
end
for i = 4 + 3 * count, #ARGV, 2 do
  local history = KEYS[5 + tonumber(ARGV[i])]
  redis.call('LPUSH', history, ARGV[i + 1])
  redis.call('LTRIM', history, 0, tonumber(ARGV[2]) - 1)
  redis.call('EXPIRE', history, 34560000)
end
return {1, revision}
`,
)

/** KEYS: entries, revisions. ARGV: since. Gives name, revision, data (false: removed) of each. */
const readScript = new Script(`
local rows, out = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf', 'WITHSCORES'), {}
for i = 1, #rows, 2 do
  out[#out + 1] = rows[i]
  out[#out + 1] = rows[i + 1]
  out[#out + 1] = redis.call('HGET', KEYS[1], rows[i])
end
return out
`)

export interface RedisScheduleStoreOptions {
  readonly app: string
  readonly clock: Clock
  /** Before the names of all keys. */
  readonly keyPrefix: string
}

export class RedisScheduleStore implements ScheduleStore {
  readonly name = 'redis'
  readonly #link: StoreLink
  readonly #prefix: string
  #id = ''

  static async open(target: RedisTarget, { app, clock, keyPrefix }: RedisScheduleStoreOptions): Promise<RedisScheduleStore> {
    const store = new RedisScheduleStore(target, clock, `${keyPrefix}celeriac.beat.${app}.`)
    store.#id = await store.#link.run(async (link) => {
      await link.call('SET', [store.#key('id'), randomUUID(), 'NX'])
      return textOf(await link.call('GET', [store.#key('id')]))
    })
    return store
  }

  private constructor(target: RedisTarget, clock: Clock, prefix: string) {
    this.#link = new StoreLink(target, { clock, name: 'celeriac:beat', what: 'the store of schedules' })
    this.#prefix = prefix
  }

  get id(): string {
    return this.#id
  }

  async entries(since: number): Promise<readonly StoredEntry[]> {
    const reply = listOf(await this.#link.run((link) => readScript.run(link, [this.#key('entries'), this.#key('revisions')], [since])))
    return Array.from({ length: reply.length / 3 }, (_, index) => {
      const data = reply[3 * index + 2]
      return {
        name: textOf(reply[3 * index]),
        revision: Number(textOf(reply[3 * index + 1])),
        data: data instanceof Buffer ? textOf(data) : null,
      }
    })
  }

  async revision(): Promise<number> {
    const reply = await this.#link.run((link) => link.call('GET', [this.#key('revision')]))
    return reply === null ? 0 : Number(textOf(reply))
  }

  async write({ token, entries, history = [], historyKept = 100 }: StoreChange): Promise<WriteOutcome> {
    const names = [...new Set(history.map(({ entry }) => entry))]
    const keys = ['token', 'revision', 'entries', 'revisions', 'removed', ...names.map((name) => `history.${name}`)].map((name) =>
      this.#key(name),
    )
    const args = [
      token ?? '',
      historyKept,
      entries.length,
      ...entries.flatMap(({ name, from, data }) => [name, from, data ?? '']),
      ...history.flatMap((row) => [names.indexOf(row.entry) + 1, JSON.stringify(row)]),
    ]
    // Not repeated on another link: the server may have done it, and would then say that the entries have changed – which is what the caller looks into.
    const [status, ...rest] = listOf(await this.#link.run((link) => writeScript.run(link, keys, args)))
    if (integerOf(status) === 0) return { status: 'deposed' }
    if (integerOf(status) < 0) return { status: 'changed', names: rest.map(textOf) }
    return { status: 'written', revision: integerOf(rest[0]) }
  }

  async history({ entry, limit }: { readonly entry?: string; readonly limit: number }): Promise<readonly HistoryRow[]> {
    const names = entry === undefined ? (await this.entries(0)).map(({ name }) => name) : [entry]
    const lists = await this.#link.run((link) =>
      Promise.all(names.map((name) => link.call('LRANGE', [this.#key(`history.${name}`), 0, limit - 1]))),
    )
    // Written by this class.
    const rows = lists.flatMap((list) => listOf(list).map((row) => JSON.parse(textOf(row)) as HistoryRow))
    return entry === undefined ? rows.sort((a, b) => b.atMs - a.atMs).slice(0, limit) : rows
  }

  async lead(owner: string, leaseMs: number): Promise<Leadership> {
    const [reply, revision] = await this.#link.run((link) =>
      Promise.all([
        leadScript.run(link, [this.#key('lease'), this.#key('token')], [owner, Math.ceil(leaseMs)]),
        link.call('GET', [this.#key('revision')]),
      ]),
    )
    const [leads, token, leader] = listOf(reply)
    return {
      leads: integerOf(leads) === 1,
      token: Number(textOf(token)),
      owner: textOf(leader),
      revision: revision === null ? 0 : Number(textOf(revision)),
    }
  }

  async resign(owner: string): Promise<void> {
    await this.#link.run((link) => resignScript.run(link, [this.#key('lease')], [owner]))
  }

  close(): Promise<void> {
    return this.#link.close()
  }

  #key(name: string): string {
    return this.#prefix + name
  }
}
