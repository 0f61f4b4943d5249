/** What `pause` and `resume` share: queues, and what the workers answered. */
import type { Command } from 'commander'
import type { Replies } from '../app/inspect.js'
import { didYouMean } from '../internal/did-you-mean.js'
import type { Duration } from '../internal/duration.js'
import { exitCodes } from './exit-codes.js'
import { addTimeoutFlag, isErrorReply, showReplies } from './remote-command.js'
import { type CommandContext, withApp } from './with-app.js'

interface PauseFlags {
  readonly timeout?: Duration
  readonly json?: true
}

export function definePause(command: Command, action: 'pause' | 'resume'): void {
  command.argument('<queue...>', 'names of queues')
  addTimeoutFlag(command).option('-j, --json', 'write one JSON object: for each queue what each worker answered')
  command.action((queues: string[], { timeout = 1, json }: PauseFlags) =>
    withApp(command, async (context) => {
      const { app, terminal } = context
      const told: Record<string, Replies> = {}
      for (const queue of queues) {
        const replies = await app.control[action](queue, { timeout })
        told[queue] = replies
        if (json !== true && Object.keys(replies).length > 0) showReplies(replies, terminal, { json: false })
        terminal.note(action === 'pause' ? `${queue} is paused, for workers that start later, too.` : `${queue} is resumed.`)
        warn(queue, replies, context)
      }
      if (json === true) terminal.data(JSON.stringify(told))
      if (Object.values(told).some((replies) => Object.values(replies).some(isErrorReply))) process.exitCode = exitCodes.failed
    }),
  )
}

/** A name that nobody has may be a slip: what was meant runs on. */
function warn(queue: string, replies: Replies, { core, terminal }: CommandContext): void {
  const known = core.routes.defaultQueues()
  const isTaken = Object.values(replies).some((reply) => !/is none of this worker/.test(JSON.stringify(reply)))
  if (isTaken || known.includes(queue)) return
  const near = didYouMean(queue, known)
  terminal.note(`note: no worker that answered takes from ${queue}.${near === undefined ? '' : ` Did you mean ${near}?`}`)
}
