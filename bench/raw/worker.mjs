// @ts-check
// What a client library and Lua can do at all, with Celery's keys and nothing else: one script stores the results of up to 200 tasks, settles them and claims
// the next 200; two of it are under way. No lease is refreshed, nothing is checked, nothing is ever given back.
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { mark } from '../marks.mjs'

const inOneScript = 200
const underWay = 2
const queue = 'celery'
const resultSeconds = 86_400

/** KEYS: unacked, its index, the list. ARGV: done, wanted, prefix of new tags, number of the first, what stands behind a message, then tag, key and result of each that is done. */
const script = `
local unacked, index, list = KEYS[1], KEYS[2], KEYS[3]
local done, wanted, number = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[4])
if done > 0 then
  local tags = {}
  for i = 1, done do
    local at = 5 + 3 * i
    tags[i] = ARGV[at - 2]
    redis.call('SETEX', ARGV[at - 1], ${resultSeconds}, ARGV[at])
    redis.call('PUBLISH', ARGV[at - 1], ARGV[at])
  end
  redis.call('HDEL', unacked, unpack(tags))
  redis.call('ZREM', index, unpack(tags))
end
local raws = redis.call('RPOP', list, wanted)
if not raws then return {} end
local now = redis.call('TIME')[1]
local fields, scores = {}, {}
for i = 1, #raws do
  local tag = ARGV[3] .. (number + i - 1)
  fields[2 * i - 1], fields[2 * i] = tag, '[' .. raws[i] .. ARGV[5]
  scores[2 * i - 1], scores[2 * i] = now, tag
end
redis.call('HSET', unacked, unpack(fields))
redis.call('ZADD', index, unpack(scores))
return raws`

const redis = new Redis(process.env.BENCH_REDIS ?? 'redis://127.0.0.1:6379')
const sha = String(await redis.script('LOAD', script))
const prefix = `raw:${process.pid}:`
let nextTag = 0
process.once('SIGTERM', () => process.exit(0))
await Promise.all(Array.from({ length: underWay }, loop))

async function loop() {
  /** @type {(string | number)[]} */
  let done = []
  for (;;) {
    const first = nextTag
    nextTag += inOneScript
    const keys = ['unacked', 'unacked_index', queue]
    const args = [done.length / 3, inOneScript, prefix, first, `,"",${JSON.stringify(queue)}]`, ...done]
    // The script returns a list of messages.
    const raws = /** @type {string[]} */ (await redis.evalsha(sha, keys.length, ...keys, ...args))
    done = raws.flatMap((raw, index) => [`${prefix}${first + index}`, ...run(raw)])
    if (raws.length === 0) await sleep(2)
  }
}

/** Key and text of the result. @param {string} raw */
function run(raw) {
  const { headers, body } = JSON.parse(raw)
  const [[x, y]] = JSON.parse(Buffer.from(body, 'base64').toString('utf8'))
  mark()
  const meta = { status: 'SUCCESS', result: x + y, traceback: null, children: [], date_done: new Date().toISOString(), task_id: headers.id }
  return [`celery-task-meta-${headers.id}`, JSON.stringify(meta)]
}
