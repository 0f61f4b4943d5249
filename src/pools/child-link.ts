import type { FromChild, ToChild } from './child-frames.js'

/** The worker's way to one child, and its life: a process behind two pipes, or a thread behind a port. child-frames.ts has what is said on it. */
export interface ChildLink {
  /** Of the process in which the child runs tasks; 0 when none could be started. */
  readonly pid: number
  /** What it is called in messages: `process 4711`. */
  readonly label: string
  /** What is sent in one turn goes out together. @throws TooLargeError, or what else makes a message that cannot cross: nothing was sent then. */
  send(message: ToChild, body?: string | Uint8Array): void
  /** What was sent goes out now. */
  flush(): void
  /** What came and was left for later is told now. */
  read(): void
  /** All that went out lies where the child reads it. */
  readonly isDelivered: boolean
  /** Ends the child and all that it started. Without effect when it is gone. */
  kill(signal: NodeJS.Signals): void
  /** Lets go of what is open to the child. */
  close(): void
}

export interface ChildExit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** What is known beyond the code, as the end of a sentence that begins with the child's label. */
  readonly words?: string
}

/** What a link tells, in this order: messages, one exit, messages that were under way, and one end. */
export interface ChildLinkEvents {
  onMessage(message: FromChild, body: string | Buffer): void
  /** Whether what came, in so many pieces, may lie there until `read`. */
  mayWait(pieces: number): boolean
  /** The first thing that went wrong on the way. */
  onError(text: string): void
  /** Right before `kill` has no effect any more. */
  onExit(exit: ChildExit): void
  /** All that it ever said was told; without an exit before it, it could not be started. */
  onGone(): void
}

/** Opens the way to a new child. Nothing is told before the next turn. */
export type OpenChild = (events: ChildLinkEvents) => ChildLink
