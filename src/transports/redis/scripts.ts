/**
 * The Lua scripts of the broker. None looks into a message (cjson would change numbers and empty lists), each reads before it writes, and each pops and registers
 * a message in one step: no crash can fall between. Those that only move or take away also run on a server that is full.
 */
import { Script } from '../../internal/redis/script.js'

/**
 * Settles what is done, then claims. What is made sure of before anything is written is asked by commands that write nothing here, so that no client is told of
 * changes to what only we read.
 * KEYS: unacked, its index, the lists in the order of service (for each step each queue), the queues' eta sets, metas of tasks that have ended.
 * ARGV: acks, wanted, seconds of a lease, prefix of leases, number of the first new one, queues, ends, seconds to keep their metas (0 is for ever), 1 when they may
 * have been stored before, numbers of acked leases.., what stands behind a message of each queue.., for each end the number of its lease and the text of its meta.
 * Returns: settlements that came too late, ms until the next eta (-1: none waits), which ends were not stored (their leases are left) as number (from 1) and why:
 * 0 when the task has ended, -1 when the backend itself has to look; then for each place something was found: its number (from 1: the lists,
 * then the eta sets), how many, and those: as they lay on their list, or as they lay in unacked. Number 0 is a key that cannot be read, with what is wrong: nothing
 * may stop the script once it has taken a message, which nobody would know of.
 */
const pump = `
local seconds_kept, again = ARGV[8], ARGV[9]
local function set(key, text, ...)
  if seconds_kept == '0' then return redis.pcall('SET', key, text, ...) end
  return redis.pcall('SET', key, text, 'EX', seconds_kept, ...)
end
local function not_stored(key, text)
  local stored = set(key, text, 'NX')
  if not stored then
    local head = redis.pcall('GETRANGE', key, 0, 19)
    local status = type(head) == 'string' and string.match(head, '^{"status": ?"([^\\\\]*)$')
    if not status then return -1 end
    status = string.sub(status, 1, 8)
    if status == 'SUCCESS"' or status == 'FAILURE"' or status == 'REVOKED"' then
      if again == '1' and redis.call('GET', key) == text then return nil end
      return 0
    end
    stored = set(key, text)
  end
  if stored.err then return -1 end
  redis.pcall('PUBLISH', key, text)
  return nil
end
local unacked, index = KEYS[1], KEYS[2]
local acks, wanted, queues = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[6])
local now = redis.call('TIME')
local seconds = tonumber(now[1]) + tonumber(now[2]) / 1000000
local ends, prefix = tonumber(ARGV[7]), ARGV[4]
local ids, exceptions = {}, {}
for i = 1, acks do ids[i] = prefix .. ARGV[9 + i] end
for i = 1, ends do
  local at = 9 + acks + queues + 2 * i
  local reason = not_stored(KEYS[#KEYS - ends + i], ARGV[at])
  if reason then
    exceptions[#exceptions + 1] = i
    exceptions[#exceptions + 1] = reason
  else
    ids[#ids + 1] = prefix .. ARGV[at - 1]
  end
end
local late = 0
if #ids > 0 then
  late = #ids - redis.call('HDEL', unacked, unpack(ids))
  redis.call('ZREM', index, unpack(ids))
end
if wanted == 0 then return {late, -1, exceptions} end
if #ids == 0 then
  redis.call('HDEL', unacked, '')
  redis.call('ZREM', index, '')
end
local lists = #KEYS - 2 - queues - ends
local score = string.format('%.6f', seconds + tonumber(ARGV[3]))
local number = tonumber(ARGV[5])
local got, out = 0, {late, -1, exceptions}
local function unreadable(key, reply)
  out[#out + 1] = 0
  out[#out + 1] = 1
  out[#out + 1] = reply.err .. ' (key ' .. key .. ')'
end
for q = 1, queues do
  local eta = KEYS[2 + lists + q]
  local due = redis.pcall('ZRANGEBYSCORE', eta, '-inf', string.format('%.6f', seconds), 'LIMIT', 0, wanted - got)
  if due.err then
    unreadable(eta, due)
  elseif #due > 0 then
    local found = redis.call('HMGET', unacked, unpack(due))
    local fields, scores, values = {}, {}, {}
    for i = 1, #due do
      if found[i] then
        local id = prefix .. string.format('%.0f', number + got)
        got = got + 1
        fields[#fields + 1] = id
        fields[#fields + 1] = found[i]
        scores[#scores + 1] = score
        scores[#scores + 1] = id
        values[#values + 1] = found[i]
      end
    end
    if #values > 0 then
      redis.call('HSET', unacked, unpack(fields))
      redis.call('ZADD', index, unpack(scores))
      redis.call('HDEL', unacked, unpack(due))
      redis.call('ZREM', index, unpack(due))
      out[#out + 1] = lists + q
      out[#out + 1] = #values
      for i = 1, #values do out[#out + 1] = values[i] end
    end
    redis.call('ZREM', eta, unpack(due))
  end
end
for l = 1, lists do
  if got == wanted then break end
  local raws = redis.pcall('RPOP', KEYS[2 + l], wanted - got)
  if raws and raws.err then
    unreadable(KEYS[2 + l], raws)
  elseif raws and #raws > 0 then
    local tail = ARGV[9 + acks + (l - 1) % queues + 1]
    local fields, scores = {}, {}
    out[#out + 1] = l
    out[#out + 1] = #raws
    for i = 1, #raws do
      local id = prefix .. string.format('%.0f', number + got)
      got = got + 1
      fields[2 * i - 1] = id
      fields[2 * i] = '[' .. raws[i] .. tail
      scores[2 * i - 1] = score
      scores[2 * i] = id
      out[#out + 1] = raws[i]
    end
    redis.call('HSET', unacked, unpack(fields))
    redis.call('ZADD', index, unpack(scores))
  end
end
if got < wanted then
  for l = 1, lists do redis.pcall('LLEN', KEYS[2 + l]) end
  local next
  for q = 1, queues do
    local first = redis.pcall('ZRANGE', KEYS[2 + lists + q], 0, 0, 'WITHSCORES')
    if first[2] and (not next or tonumber(first[2]) < next) then next = tonumber(first[2]) end
  end
  if next then out[2] = math.max(0, math.ceil((next - seconds) * 1000)) end
end
return out`

/** KEYS: index. ARGV: seconds of a lease, leases.. Returns the numbers (from 1) of those that are gone. */
const refresh = `
local now = redis.call('TIME')
local score = string.format('%.6f', tonumber(now[1]) + tonumber(now[2]) / 1000000 + tonumber(ARGV[1]))
local gone = {}
for i = 2, #ARGV do
  if redis.call('ZADD', KEYS[1], 'XX', 'CH', score, ARGV[i]) == 0 and not redis.call('ZSCORE', KEYS[1], ARGV[i]) then
    gone[#gone + 1] = i - 1
  end
end
return gone`

/**
 * Puts messages back, for those whose lease is still there.
 * KEYS: unacked, its index, lists. ARGV: for each list a lease (or nothing: once more that of the list before) and its message as it is pushed.
 * Returns how many leases were gone.
 */
const restore = `
local late, is_there = 0, false
for i = 1, #KEYS - 2 do
  local id = ARGV[2 * i - 1]
  redis.call('LLEN', KEYS[2 + i])
  if id ~= '' then
    is_there = redis.call('HDEL', KEYS[1], id) == 1
    redis.call('ZREM', KEYS[2], id)
    if not is_there then late = late + 1 end
  end
  if is_there then redis.call('RPUSH', KEYS[2 + i], ARGV[2 * i]) end
end
return late`

/**
 * Keeps messages of one queue until their time. KEYS: unacked, its index, the queue's eta set. ARGV: for each lease itself, its new name, and when (seconds since
 * the epoch, by the server's clock). Returns how many leases were gone.
 */
const defer = `
local ids, late = {}, 0
for i = 1, #ARGV, 3 do ids[#ids + 1] = ARGV[i] end
redis.call('ZREM', KEYS[3], '')
local values = redis.call('HMGET', KEYS[1], unpack(ids))
redis.call('ZREM', KEYS[2], unpack(ids))
local fields, scores = {}, {}
for i = 1, #ids do
  if values[i] then
    local name = ARGV[3 * i - 1]
    fields[#fields + 1] = name
    fields[#fields + 1] = values[i]
    scores[#scores + 1] = ARGV[3 * i]
    scores[#scores + 1] = name
  else
    late = late + 1
  end
end
if late < #ids then
  redis.call('HDEL', KEYS[1], unpack(ids))
  redis.call('HSET', KEYS[1], unpack(fields))
  redis.call('ZADD', KEYS[2], unpack(scores))
  redis.call('ZADD', KEYS[3], unpack(scores))
end
return late`

/**
 * Moves messages to the dead letters, with their original bytes.
 * KEYS: unacked, its index, dead letters, their index. ARGV: limit, ms since the epoch, then for each lease itself, the dead letter's id, what is noted of it,
 * and how many characters stand before and behind the message. Returns: leases that were gone, dead letters that were dropped.
 */
const bury = `
local late = 0
redis.call('HLEN', KEYS[3])
redis.call('ZCARD', KEYS[4])
for i = 3, #ARGV, 5 do
  local value = redis.call('HGET', KEYS[1], ARGV[i])
  if value then
    redis.call('HSET', KEYS[3], ARGV[i + 1], ARGV[i + 2] .. '\\n' .. string.sub(value, 1 + tonumber(ARGV[i + 3]), -1 - tonumber(ARGV[i + 4])))
    redis.call('ZADD', KEYS[4], ARGV[2], ARGV[i + 1])
    redis.call('HDEL', KEYS[1], ARGV[i])
  else
    late = late + 1
  end
  redis.call('ZREM', KEYS[2], ARGV[i])
end
${dropOldest('KEYS[3]', 'KEYS[4]', 'ARGV[1]')}
return {late, dropped}`

/** Keeps a message that lies nowhere else. KEYS: dead letters, their index. ARGV: limit, ms since the epoch, id, the letter. Returns how many were dropped. */
const buryHeard = `
redis.call('HLEN', KEYS[1])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[3])
redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
${dropOldest('KEYS[1]', 'KEYS[2]', 'ARGV[1]')}
return dropped`

/** KEYS: dead letters, their index, a list. ARGV: id, the message. Returns 1 when it was there. */
const replay = `
redis.call('LLEN', KEYS[3])
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('LPUSH', KEYS[3], ARGV[2])
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1`

/**
 * Entries of unacked by the end of their lease. KEYS: index. ARGV: lowest score, count. Returns the time of the server and entries with their scores, lowest
 * first and up to now.
 */
const overdue = `
local now = redis.call('TIME')
local seconds = string.format('%.6f', tonumber(now[1]) + tonumber(now[2]) / 1000000)
return {seconds, redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], seconds, 'WITHSCORES', 'LIMIT', 0, tonumber(ARGV[2]))}`

/** Removes what waits in a queue. KEYS: unacked, its index, the eta set, lists.. Returns how many messages that were. */
const purge = `
local count = 0
for i = 4, #KEYS do count = count + redis.call('LLEN', KEYS[i]) end
local due = redis.call('ZRANGE', KEYS[3], 0, -1)
for i = 1, #due do
  count = count + redis.call('HDEL', KEYS[1], due[i])
  redis.call('ZREM', KEYS[2], due[i])
end
for i = 3, #KEYS do redis.call('DEL', KEYS[i]) end
return count`

/**
 * What waits for its time in a queue is due now. The messages stay where they are. KEYS: unacked's index, the queue's eta set. Returns how many that were.
 */
const hurry = `
local now = redis.call('TIME')[1]
redis.call('ZCARD', KEYS[1])
local names = redis.call('ZRANGE', KEYS[2], 0, -1)
for i = 1, #names do
  redis.call('ZADD', KEYS[2], 'XX', now, names[i])
  redis.call('ZADD', KEYS[1], 'XX', now, names[i])
end
return #names`

/** The ends of the values in unacked, which say where the messages came from. KEYS: unacked. ARGV: the most that are read. Returns {nil} when there are more. */
const places = `
if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[1]) then return {false} end
local values = redis.call('HVALS', KEYS[1])
for i = 1, #values do values[i] = string.sub(values[i], -1100) end
return values`

/** Lua that keeps dead letters within their limit and counts in `dropped` what it cost. */
function dropOldest(letters: string, index: string, limit: string): string {
  return `local dropped = math.max(0, redis.call('ZCARD', ${index}) - tonumber(${limit}))
if dropped > 0 then
  local oldest = redis.call('ZRANGE', ${index}, 0, dropped - 1)
  for i = 1, #oldest do
    redis.call('HDEL', ${letters}, oldest[i])
    redis.call('ZREM', ${index}, oldest[i])
  end
end`
}

export interface Scripts {
  /** Whether those that only move or take away run on a full server, too. */
  readonly allowOom: boolean
  readonly pump: Script
  readonly refresh: Script
  readonly restore: Script
  readonly defer: Script
  readonly bury: Script
  readonly buryHeard: Script
  readonly replay: Script
  readonly overdue: Script
  readonly purge: Script
  readonly hurry: Script
  readonly places: Script
}

/** `allowOom` needs Redis 7. */
export function makeScripts({ allowOom }: { readonly allowOom: boolean }): Scripts {
  const always = { allowOom }
  return {
    allowOom,
    pump: new Script(pump, always),
    refresh: new Script(refresh, always),
    restore: new Script(restore, always),
    defer: new Script(defer, always),
    bury: new Script(bury, always),
    buryHeard: new Script(buryHeard, always),
    replay: new Script(replay),
    overdue: new Script(overdue),
    purge: new Script(purge, always),
    hurry: new Script(hurry, always),
    places: new Script(places),
  }
}
