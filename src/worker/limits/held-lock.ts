import type { Message } from '../../protocol/message.js'
import { isRecord } from '../../protocol/plain.js'
import { lockHeader } from '../../protocol/task-headers.js'
import type { Delivery } from '../../transport.js'
import { ForwardedDelivery } from '../forwarded-delivery.js'

/** The lock that a message says its task holds. */
export interface HeldLock {
  readonly name: string
  /** For how long it is held after the task could run. */
  readonly ttlMs: number
  /** Knows how the message was settled. */
  readonly delivery: WatchedDelivery
  /** The task goes on in another message, or another copy of this one is at work. */
  goesOn: boolean
}

/** Undefined for the many messages without one, and for what somebody wrote who does not know what it is. */
export function heldLock({ headers }: Message, delivery: Delivery): HeldLock | undefined {
  const value = headers[lockHeader]
  if (!isRecord(value)) return undefined
  const { name, ttl } = value
  if (typeof name !== 'string' || name === '' || typeof ttl !== 'number' || !(ttl > 0)) return undefined
  return { name, ttlMs: ttl, delivery: new WatchedDelivery(delivery), goesOn: false }
}

/** True when the task is over: its lock may go. */
export function hasEnded({ delivery, goesOn }: HeldLock): boolean {
  return !goesOn && !delivery.isLost && delivery.isDone
}

/** A delivery that remembers whether its message is done with, by the last word about it: one that is acked early is acked again when its task has ended. */
class WatchedDelivery extends ForwardedDelivery {
  isDone = false

  override ack(): void {
    this.isDone = true
    super.ack()
  }

  override release(options?: { readonly counted?: boolean }): void {
    this.isDone = false
    super.release(options)
  }

  override reject(reason: string): void {
    this.isDone = true
    super.reject(reason)
  }

  override defer(untilMs: number): void {
    this.isDone = false
    super.defer(untilMs)
  }
}
