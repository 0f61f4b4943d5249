/** What `pause` and `resume` share: queues, and what the workers answered. */
import type { Command } from 'commander'
import type { Duration } from '../internal/duration.js'
import { addTimeoutFlag, showReplies } from './remote-command.js'
import { withApp } from './with-app.js'

interface PauseFlags {
  readonly timeout?: Duration
  readonly json?: true
}

export function definePause(command: Command, action: 'pause' | 'resume'): void {
  command.argument('<queue...>', 'names of queues')
  addTimeoutFlag(command).option('-j, --json', 'write one JSON object: for each queue what each worker answered')
  command.action((queues: string[], { timeout = 1, json }: PauseFlags) =>
    withApp(command, async ({ app, terminal }) => {
      const told: Record<string, unknown> = {}
      for (const queue of queues) {
        const replies = await app.control[action](queue, { timeout })
        told[queue] = replies
        if (json === true) continue
        if (Object.keys(replies).length > 0) showReplies(replies, terminal, { json: false })
        terminal.note(action === 'pause' ? `${queue} is paused, for workers that start later, too.` : `${queue} is resumed.`)
      }
      if (json === true) terminal.data(JSON.stringify(told))
    }),
  )
}
