import type { Command } from 'commander'
import { confirmed } from '../confirm.js'
import { noteNearQueues } from '../near-queue.js'
import { nameList } from '../values.js'
import { withApp } from '../with-app.js'

interface PurgeFlags {
  readonly queues?: string[]
  readonly excludeQueues?: string[]
  readonly force?: true
  readonly yes?: true
  readonly json?: true
}

export function define(command: Command): void {
  command
    .option('-Q, --queues <names>', "these queues, separated by commas; by default the app's own", nameList)
    .option('-X, --exclude-queues <names>', 'not these', nameList)
    .option('-f, --force', 'do not ask')
    .option('--yes', 'as --force')
    .option('--json', 'write one JSON object: the number of removed messages of each queue')
    .action((flags: PurgeFlags) =>
      withApp(command, async ({ app, core, terminal }) => {
        const excluded = new Set(flags.excludeQueues)
        const queues = (flags.queues ?? core.routes.defaultQueues()).filter((name) => !excluded.has(name))
        noteNearQueues(flags.queues ?? [], core, terminal)
        if (flags.force !== true && flags.yes !== true) {
          const connection = await core.connections.publisher()
          const sizes = await Promise.all(queues.map(async (name) => `${name} (${messages(await connection.size(name))})`))
          if (!(await confirmed(`Remove all waiting messages of ${sizes.join(', ')}?`))) {
            terminal.note('Nothing was removed.')
            return
          }
        }
        const removed: Record<string, number> = {}
        for (const name of queues) removed[name] = await app.control.purge(name)
        if (flags.json === true) terminal.data(JSON.stringify(removed))
        else for (const [name, number] of Object.entries(removed)) terminal.data(`${name}: ${messages(number)} removed`)
      }),
    )
}

function messages(number: number): string {
  return number === 1 ? '1 message' : `${number} messages`
}
