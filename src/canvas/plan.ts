/**
 * From a signature to the messages that start it. Everything that follows is inside of these messages, with its id fixed: the rest of a chain in REVERSE
 * order, the body of a chord in each of its header tasks. Pure: the same signature and the same ids give the same plan, wherever it is made.
 */
import type { ResultTuple } from '../protocol/result.js'
import type { Embed } from '../protocol/task-body.js'

/** One message to be sent. */
export interface PlannedCall {
  readonly id: string
  readonly task: string
  /** With the partial arguments in front. */
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
  /** Options of the call under Celery's names (`queue`, `countdown`, `stamped_headers` and the stamps ...), without those that the other fields tell. */
  readonly options: Readonly<Record<string, unknown>>
  /** Links, rest of the chain (reversed) and chord body, their ids fixed. */
  readonly embed: Embed
  /** Null: whoever sends decides (the root of the running task, else the task itself). */
  readonly rootId: string | null
  /** Null: whoever sends decides (the running task, else none). */
  readonly parentId: string | null
  readonly groupId: string | null
  readonly groupIndex: number | null
  readonly replacedTaskNesting: number
  /** The address that the signature brought; null: the sender's own. */
  readonly replyTo: string | null
}

export type PlanStep =
  /** Before any header task is sent: how many parts the chord `groupId` waits for, and its body as each of them has it. */
  | { readonly kind: 'chord'; readonly groupId: string; readonly size: number; readonly body: object }
  /** Header with groups in it: its result tree, from which the parts are put together again (celery-wire 3.6). Before any header task is sent. */
  | { readonly kind: 'saveGroup'; readonly groupId: string; readonly tuple: ResultTuple }
  | { readonly kind: 'send'; readonly call: PlannedCall }

export interface Plan {
  /** In the order in which they are done. May be iterated once: members of a group are made one by one. */
  readonly steps: Iterable<PlanStep>
  /** What the caller gets a handle of: the last task of a chain, the body of a chord (its parents lead to the beginning), a group with its members. */
  readonly result: ResultTuple
  /** What the steps send at once: a child of the task that sends it, from which everything else is found by its own children. */
  readonly started: ResultTuple
  /** There is a chord in it, to be sent now or later: a result store that counts is needed. */
  readonly hasChords: boolean
}

/** What is put over a signature when it is sent: Celery's apply_async(args, kwargs, **options). */
export interface Given {
  /** Put before the arguments of the first task (of each member of a group), unless that is immutable. */
  readonly args?: readonly unknown[]
  readonly kwargs?: Readonly<Record<string, unknown>>
  /** Under Celery's names, over those of the signature; null is "not given". A group id and stamps of the signature stay. */
  readonly options?: Readonly<Record<string, unknown>>
  /** Of a group: its id. Of a chain: of its last task. Of a chord: of its body. */
  readonly taskId?: string | undefined
  readonly rootId?: string | undefined
  readonly parentId?: string | undefined
  /** What follows, REVERSED and frozen, as it came in a message. */
  readonly chain?: readonly unknown[] | undefined
  /** The body of the chord that this is a part of, frozen. */
  readonly chord?: unknown
  readonly groupId?: string | undefined
  readonly groupIndex?: number | undefined
  /** Where results go on brokers that carry them; written into everything that has no such address. */
  readonly replyTo?: string | undefined
  /** `taskAllowErrorCbOnChordHeader`: errbacks of a chord are told of its header tasks, too. */
  readonly errbacksOnHeaders?: boolean | undefined
  /** Ids for what has none. At a client random; at a worker made from the running task's id and the path, so that a redelivered task plans the same. */
  readonly newId: (path: string) => string
}
