import type { Message } from '../protocol/message.js'
import type { Delivery } from '../transport.js'

/** A delivery in front of another: what it does not say itself, the other does. Its message is never acked by the way (`ackWith`), so that every word is heard. */
export class ForwardedDelivery implements Delivery {
  protected readonly delivery: Delivery

  constructor(delivery: Delivery) {
    this.delivery = delivery
  }

  get message(): Message {
    return this.delivery.message
  }

  get queue(): string {
    return this.delivery.queue
  }

  get exchange(): string {
    return this.delivery.exchange
  }

  get routingKey(): string {
    return this.delivery.routingKey
  }

  get redelivered(): boolean {
    return this.delivery.redelivered
  }

  get deliveries(): number {
    return this.delivery.deliveries
  }

  get isLost(): boolean {
    return this.delivery.isLost
  }

  ack(): void {
    this.delivery.ack()
  }

  release(options?: { readonly counted?: boolean }): void {
    this.delivery.release(options)
  }

  reject(reason: string): void {
    this.delivery.reject(reason)
  }

  defer(untilMs: number): void {
    this.delivery.defer(untilMs)
  }
}
