/**
 * Chords as Celery counts them, in keys beside the group's own: `.s` size, `.t` growth, `.j` parts, `.d` which of them were counted (since 5.7), `.c` who publishes
 * the body, or `done` (since 5.7). Ours is `.celeriac`: whoever started the chord waits for news of its loss. It holds the body's signature, or 1.
 */
import { Script } from '../../internal/redis/script.js'

const expire = `
local function expire(seconds, ...)
  if seconds ~= '0' then
    for _, key in ipairs({...}) do redis.call('EXPIRE', key, seconds) end
  end
end
`

/** KEYS: size, claim, ours. ARGV: size, seconds (0 is for ever), the body or 1. */
export const startScript = new Script(`${expire}
if redis.call('GET', KEYS[2]) == 'done' then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('SET', KEYS[3], ARGV[3])
expire(ARGV[2], KEYS[1], KEYS[3])
return 1
`)

/** KEYS: growth, counted, claim. ARGV: seconds, task ids. The ids stand among those of counted parts, which have their index behind them. */
export const growScript = new Script(`${expire}
if redis.call('GET', KEYS[3]) == 'done' then return 0 end
for i = 2, #ARGV do
  if redis.call('SADD', KEYS[2], '+' .. ARGV[i]) == 1 then redis.call('INCR', KEYS[1]) end
end
expire(ARGV[1], KEYS[1], KEYS[2])
return 1
`)

/**
 * KEYS: parts, growth, size, counted, claim, ours, group. ARGV: 1 when parts are ordered, seconds, seconds of a claim, then for each part: its text, what that
 * begins with, its name among those that are counted, its score, 1 when the chord must be known.
 * Gives for each part how many there are to read when it closes the chord, else 0; -1 when the chord is lost.
 */
const complete = `${expire}
local parts, growth, size_key, counted, claim_key, ours = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local ordered, seconds = ARGV[1] == '1', ARGV[2]
local claim = redis.call('GET', claim_key)
local size = redis.call('GET', size_key)
local has_ended = claim == 'done' or not size and redis.call('EXISTS', ours) == 1
local total = size and size + (redis.call('GET', growth) or 0)
local count = redis.call(ordered and 'ZCARD' or 'LLEN', parts)
local function is_known(head, name, score)
  if redis.call('SISMEMBER', counted, name) == 1 then return true end
  if not ordered or score == '+inf' then return false end
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', parts, score, score)) do
    if string.sub(member, 1, #head) == head then return true end
  end
  return false
end
local answers, was_touched = {}, false
for at = 4, #ARGV, 5 do
  local text, head, name, score = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local answer = 0
  if has_ended then
    answer = 0
  elseif not size and ARGV[at + 4] == '1' then
    answer = -1
  else
    local known = is_known(head, name, score)
    was_touched = true
    if not known then
      if ordered then redis.call('ZADD', parts, score, text) else redis.call('RPUSH', parts, text) end
      redis.call('SADD', counted, name)
      count = count + 1
    end
    if total and count >= total and (not claim or claim == name or not known and count == total) then
      redis.call('SET', claim_key, name, 'EX', ARGV[3])
      claim = name
      answer = count
    end
  end
  answers[#answers + 1] = answer
end
if was_touched then expire(seconds, parts, growth, size_key, counted, ours, KEYS[7]) end
return answers
`
export const completeScript = new Script(complete)
/** The same on a server that is full. */
export const completeOnFullScript = new Script(complete, { allowOom: true })

/** KEYS: parts, claim. ARGV: the name of whose claim it was, and parts that are there twice. */
export const takeBackScript = new Script(`
for i = 2, #ARGV do redis.call('ZREM', KEYS[1], ARGV[i]) end
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
return 1
`)

/** KEYS: claim, and those that go. ARGV: seconds for which it is known that the chord has ended. What takes away comes first, so that a full server does the rest, too. */
export const endScript = new Script(`${expire}
redis.call('UNLINK', unpack(KEYS, 2))
redis.call('SET', KEYS[1], 'done')
expire(ARGV[1], KEYS[1])
return 1
`)
