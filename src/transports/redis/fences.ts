/** Fences (transport.ts) as keys that expire: passed in the script that pushes the message. */
import { FencedError } from '../../errors.js'
import { integerOf, type RedisLink } from '../../internal/redis/link.js'
import { Script } from '../../internal/redis/script.js'
import type { Fence } from '../../transport.js'
import type { Layout } from './layout.js'

const keptMs = 30 * 86_400_000

/**
 * KEYS: the fences, then the lists. ARGV: how many fences, ms to keep them, order and 0 or 1 (again) of each, and the message.
 * Gives 0, or the number (from 1) of the fence that held: then nothing is changed.
 */
const passScript = new Script(`
local count = tonumber(ARGV[1])
for i = 1, count do
  local passed, order = redis.call('GET', KEYS[i]), tonumber(ARGV[1 + 2 * i])
  if passed then
    passed = tonumber(passed)
    if order < passed or (order == passed and ARGV[2 + 2 * i] == '0') then return i end
  end
end
for i = count + 1, #KEYS do redis.call('LPUSH', KEYS[i], ARGV[#ARGV]) end
for i = 1, count do redis.call('SET', KEYS[i], ARGV[1 + 2 * i], 'PX', ARGV[2]) end
return 0
`)

/** Pushes the message on the lists, if every fence is passed. Rejects with FencedError, or as a link does. */
export async function pushFenced(
  link: RedisLink,
  layout: Layout,
  fences: readonly Fence[],
  push: { readonly lists: readonly string[]; readonly envelope: string } = { lists: [], envelope: '' },
): Promise<void> {
  const keys = [...fences.map(({ key }) => layout.fence(key)), ...push.lists]
  const orders = fences.flatMap(({ order, again = false }) => [order.toFixed(0), again ? 1 : 0])
  const held = integerOf(await passScript.run(link, keys, [fences.length, keptMs, ...orders, push.envelope]))
  const fence = fences[held - 1]
  if (fence !== undefined) throw new FencedError(fence.key, fence.order)
}
