/** The broker of a fault test, and what a test may look up in it behind the driver's back. */
import type { Message } from '../../dist/protocol/message.js'

/** How long a worker's leases live; the sweep comes every quarter of a second. */
export const leaseTtlMs = 2_000
export const queueName = 'celery'

export interface KeptMessage {
  /** Of the task; undefined where it cannot be read. */
  readonly id: string | undefined
  readonly state: 'waiting' | 'leased' | 'delayed'
  /** Runs that ended abnormally. */
  readonly deliveries: number
}

export interface SceneBroker extends AsyncDisposable {
  /** The driver's. */
  readonly name: string
  /** Where its apps find it, and their results. */
  readonly url: string
  /** What every app of the scene is made with, beside the URL. */
  readonly options: Readonly<Record<string, unknown>>
  /** All that is in the queue, waiting or not. */
  messages(): Promise<readonly KeptMessage[]>
  /** Puts a message into the queue as another program would, past every check of ours; undefined: there is no other way than our own. */
  readonly publishRaw?: (message: Message) => Promise<void>
  /** As if the first dead letter had come that many times more. */
  multiplyDeadLetters(count: number): Promise<void>
  /** What nobody should find in it when all is done. */
  leftovers(): Promise<readonly string[]>
}
