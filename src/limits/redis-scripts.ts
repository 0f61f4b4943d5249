import { Script } from '../internal/redis/script.js'
import { longestAheadMs } from '../limit-store.js'
import { forgottenMs, laterMs, patienceMs, rememberedMs, soonMs } from './start-rule.js'

const now = `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
`

/** The slots of a key, as start-rule.ts has them: holders with the ends of their leases, and owners that wait, in one JSON text. */
const slots = `
local function slotsAt(key, lease)
  local text = redis.call('GET', key)
  local held, waiting, count = {}, {}, 0
  if text then
    local record = cjson.decode(text)
    local most = math.max(now + lease, now + 60000)
    for holder, until_ms in pairs(record.held) do
      if until_ms > now then held[holder] = math.min(until_ms, most); count = count + 1 end
    end
    for owner, times in pairs(record.waiting) do
      if times[2] <= now and now - times[2] < ${forgottenMs} then waiting[owner] = times end
    end
  end
  return {held = held, waiting = waiting, count = count}
end
local function keep(key, record, lease)
  redis.call('SET', key, cjson.encode({held = record.held, waiting = record.waiting}), 'PX', math.ceil(math.max(${forgottenMs}, lease, 60000)))
end
`

/**
 * KEYS: rates and slots, each once. ARGV: the asks as JSON, with the numbers of their keys. Gives of each ask: 1 and ms (granted), 0 and ms (wait for its rate) or -1 and ms
 * (wait for slots); the ms as text.
 */
export const startScript = new Script(`${now}${slots}
local answers = {}
for _, ask in ipairs(cjson.decode(ARGV[1])) do
  local start = now
  for _, rate in ipairs(ask.rates) do
    local last = redis.call('GET', KEYS[rate[1]])
    last = last and tonumber(last)
    if last and last <= now + ${longestAheadMs} then start = math.max(start, last + rate[2]) end
  end
  local late, wait, records = math.max(0, start - now - ask.ahead), 0, {}
  for i, slot in ipairs(ask.slots) do
    local record = slotsAt(KEYS[slot[1]], ask.lease)
    local mine = record.waiting[ask.owner]
    local older, first = 0, 0
    for owner, times in pairs(record.waiting) do
      if owner ~= ask.owner and (not mine or times[1] < mine[1]) then
        older = older + 1
        if now - times[1] >= ${patienceMs} then first = first + 1 end
      end
    end
    record.waiting[ask.owner] = nil
    if slot[2] - record.count <= first then
      record.waiting[ask.owner] = {mine and mine[1] or now, now}
      wait = math.max(wait, older == 0 and ${soonMs} or ${laterMs})
    end
    records[i] = record
  end
  local granted = late == 0 and wait == 0
  for i, slot in ipairs(ask.slots) do
    if granted then records[i].held[ask.holder] = now + ask.lease end
    keep(KEYS[slot[1]], records[i], ask.lease)
  end
  if granted then
    for _, rate in ipairs(ask.rates) do
      redis.call('SET', KEYS[rate[1]], string.format('%.3f', start), 'PX', math.ceil(math.max(${rememberedMs}, rate[2] + ${longestAheadMs})))
    end
  end
  answers[#answers + 1] = granted and 1 or (wait > 0 and -1 or 0)
  answers[#answers + 1] = string.format('%.3f', granted and start - now or math.max(late, wait))
end
return answers
`)

/** KEYS: slots. ARGV: ms of the lease, and the holder in each. */
export const renewScript = new Script(`${now}${slots}
local lease = tonumber(ARGV[1])
for i, key in ipairs(KEYS) do
  local record = slotsAt(key, lease)
  record.held[ARGV[i + 1]] = now + lease
  keep(key, record, lease)
end
return 1
`)

/** KEYS: slots. ARGV: the holder in each. */
export const freeScript = new Script(`${now}${slots}
for i, key in ipairs(KEYS) do
  local record = slotsAt(key, 1e15)
  if record.held[ARGV[i]] then
    record.held[ARGV[i]] = nil
    if next(record.held) == nil and next(record.waiting) == nil then redis.call('DEL', key)
    else
      local last = 0
      for _, until_ms in pairs(record.held) do last = math.max(last, until_ms - now) end
      keep(key, record, last)
    end
  end
end
return 1
`)

/** KEYS: a lock, and notes of dropped tasks. Gives the time, the lock and each note. */
export const readLockScript = new Script(`${now}
local found = {string.format('%.3f', now), redis.call('GET', KEYS[1])}
for i = 2, #KEYS do found[i + 1] = redis.call('EXISTS', KEYS[i]) end
return found
`)

/** KEYS: a lock, and notes of dropped tasks that are to be written. ARGV: the lock as it was read, as it is to be ('' is none), its ms, the ms of the notes. 0: it is another by now. */
export const writeLockScript = new Script(`
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
for i = 2, #KEYS do redis.call('SET', KEYS[i], '1', 'PX', ARGV[4]) end
return 1
`)
