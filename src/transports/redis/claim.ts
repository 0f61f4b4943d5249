/** A claim of a consumer, and the messages that it brought. */
import { integerOf, listOf, type RedisLink, type Reply, textOf } from '../../internal/redis/link.js'
import type { Asked, ClaimPlan, RedisConsumer } from './consumer.js'
import type { Layout } from './layout.js'

export interface Claim extends Asked {
  readonly consumer: RedisConsumer
  readonly plan: ClaimPlan
  /** The number of its first lease; the others follow. */
  readonly first: number
}

/** A message as a claim gave it. */
export interface Claimed {
  readonly lease: number
  readonly queue: string
  readonly raw: Buffer
}

/** What the pump script answered to it: the messages, and what is said of keys that cannot be read. */
export function readClaim(
  { plan, first }: Claim,
  items: readonly Reply[],
): { readonly claimed: readonly Claimed[]; readonly unreadable: readonly string[] } {
  const claimed: Claimed[] = []
  const unreadable: string[] = []
  for (let at = 3; at < items.length; ) {
    const place = integerOf(items[at]) - 1
    const size = integerOf(items[at + 1])
    if (place < 0) {
      unreadable.push(textOf(items[at + 2]))
      at += 2 + size
      continue
    }
    const isDue = place >= plan.lists.length
    const which = isDue ? place - plan.lists.length : place % plan.queues.length
    const queue = plan.queues[which] ?? ''
    const tailBytes = isDue ? Buffer.byteLength(plan.tails[which] ?? '') : 0
    for (let index = 0; index < size; index++) {
      const bytes = items[at + 2 + index]
      if (!(bytes instanceof Buffer)) throw new TypeError('the claim script gave something else than bytes')
      claimed.push({ lease: first + claimed.length, queue, raw: isDue ? bytes.subarray(1, bytes.length - tailBytes) : bytes })
    }
    at += 2 + size
  }
  return { claimed, unreadable }
}

/** The messages of one whose answer was lost: those that lie under its leases. */
export async function findClaimed(
  { plan, first, count }: Claim,
  link: RedisLink,
  { layout, leaseId }: { readonly layout: Layout; readonly leaseId: (lease: number) => string },
): Promise<readonly Claimed[]> {
  const ids = Array.from({ length: count }, (_, index) => leaseId(first + index))
  const values = listOf(await link.call('HMGET', [layout.unacked, ...ids]))
  const claimed: Claimed[] = []
  for (const [index, value] of values.entries()) {
    if (!(value instanceof Buffer)) continue
    const place = plan.queues.findIndex((_, at) => value.subarray(-Buffer.byteLength(plan.tails[at] ?? '')).toString() === plan.tails[at])
    const [tail, queue] = [plan.tails[place], plan.queues[place]]
    if (tail === undefined || queue === undefined) continue
    claimed.push({ lease: first + index, queue, raw: value.subarray(1, value.length - Buffer.byteLength(tail)) })
  }
  return claimed
}
