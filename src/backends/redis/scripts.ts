/** What must happen at once. No script parses JSON: the first bytes of a meta say whether its task has ended. */
import { Script } from '../../internal/redis/script.js'

/**
 * KEYS: metas to store, each once. ARGV: 1 when this may have been done before, seconds to keep them (0 is for ever), and the text for each key.
 * What is stored is published on the channel of its key's name. Gives what was not stored, as index (from 1) and why: 0 when the task has ended, -1 when the key
 * is no string, or the text that is there, when its first bytes do not tell.
 *
 * A key mostly is new, so it is written at once if it is; what else the server refuses (memory, a replica), it refuses at the first write.
 */
const store = `
local again, seconds = ARGV[1] == '1', ARGV[2]
local function set(key, value, ...)
  if seconds == '0' then return redis.call('SET', key, value, ...) end
  return redis.call('SET', key, value, 'EX', seconds, ...)
end
local function why_not(key, value)
  local head = redis.pcall('GETRANGE', key, 0, 19)
  if type(head) == 'table' then return -1 end
  local status = string.match(head, '^{"status": ?"([^\\\\]*)$')
  if not status then return redis.call('GET', key) end
  status = string.sub(status, 1, 8)
  if status ~= 'SUCCESS"' and status ~= 'FAILURE"' and status ~= 'REVOKED"' then return nil end
  if again and redis.call('GET', key) == value then return 1 end
  return 0
end
local exceptions = {}
for i, key in ipairs(KEYS) do
  local value = ARGV[i + 2]
  local stored, reason = set(key, value, 'NX'), nil
  if not stored then
    reason = why_not(key, value)
    if not reason then stored = set(key, value) end
  end
  if stored then
    redis.call('PUBLISH', key, value)
  elseif reason ~= 1 then
    exceptions[#exceptions + 1] = i
    exceptions[#exceptions + 1] = reason
  end
end
return exceptions
`
export const storeScript = new Script(store)
/** The same on a server that is full. */
export const storeOnFullScript = new Script(store, { allowOom: true })

/** KEYS: one meta. ARGV: its text, seconds, and the text that it may replace. Gives 0 when another text is there by now. */
export const replaceScript = new Script(`
local key, value, seconds, old = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local now = redis.call('GET', key)
if now == value then return 1 end
if now and now ~= old then return 0 end
if seconds == '0' then redis.call('SET', key, value) else redis.call('SET', key, value, 'EX', seconds) end
redis.call('PUBLISH', key, value)
return 1
`)

/**
 * KEYS: the sorted set of revoked tasks, which is also the channel on which workers are told. ARGV: how many ms they are remembered, and their ids. None is
 * forgotten sooner than it was to be before.
 */
export const revokeScript = new Script(`
local time = redis.call('TIME')
local now, ms = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
local until_ms = string.format('%.0f', now + ms)
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], 'GT', until_ms, ARGV[i]) end
if redis.call('PTTL', KEYS[1]) < ms then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
redis.pcall('PUBLISH', KEYS[1], until_ms .. '\\n' .. table.concat(ARGV, '\\n', 2))
return 1
`)
