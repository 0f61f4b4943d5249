import type { ApplyOptions } from '../canvas/sig.js'
import type { Embed } from '../protocol/task-body.js'
import type { Fence } from '../transport.js'
import type { Arguments } from './arguments.js'
import type { Routed } from './routes.js'
import type { TaskDefinition } from './task.js'

/** A call on its way: the task by name, and its definition when this app has it. */
export interface OutgoingCall extends Arguments {
  readonly task: string
  readonly definition: TaskDefinition | undefined
  readonly options: ApplyOptions
  /** Links as they came in a message, instead of those of the options. */
  readonly embed?: Embed
  /** What the broker asks before it takes the message. */
  readonly fences?: readonly Fence[]
  /** The lock of a unique task, which its worker releases: for how many ms it is held after the task could run. */
  readonly lock?: { readonly name: string; readonly ttl: number }
  /** The task that sends it, when it is not the one that runs here. */
  readonly rootId?: string | undefined
  readonly parentId?: string | undefined
  /** Its place in a workflow, and where its result goes on brokers that carry results. */
  readonly groupId?: string | undefined
  readonly groupIndex?: number | undefined
  readonly replacedTaskNesting?: number | undefined
  readonly replyTo?: string | undefined
  /** Told where it goes, once that is known. */
  readonly routed?: ((routed: Routed) => void) | undefined
}
