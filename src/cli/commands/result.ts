import type { Command } from 'commander'
import type { Duration } from '../../internal/duration.js'
import { exitCodes } from '../exit-codes.js'
import { printResult } from '../print-result.js'
import { durationText } from '../values.js'
import { withApp } from '../with-app.js'

interface ResultFlags {
  readonly traceback?: boolean
  readonly wait?: true | Duration
  readonly json?: boolean
}

export function define(command: Command): void {
  command
    .argument('<id>', 'the id of the task')
    .option('--traceback', 'show the traceback of a task that failed')
    .option('--wait [duration]', 'wait for the task to end; not longer than the duration', (text) => durationText(text, '--wait'))
    .option('--json', 'write one JSON object: id, state, and result or error')
    .addHelpText(
      'after',
      `\nEnds with ${exitCodes.ok} when the task succeeded, ${exitCodes.failed} when it failed, ${exitCodes.temporary} when it has not ended.`,
    )
    .action((id: string, { traceback = false, wait, json = false }: ResultFlags) =>
      withApp(command, async ({ app, core, terminal }) => {
        const result = app.result(id)
        if (wait !== undefined) await result.get({ propagate: false, ...(wait === true ? {} : { timeout: wait }) })
        const ended = await result.ready()
        if (!ended && (await result.exists()) === false) terminal.note('note: neither the broker nor the results know this id.')
        if (!ended && (await core.connections.backend()).inbox !== undefined)
          terminal.note('note: with rpc:// a result goes to the process that sent its task, and to nobody else.')
        const succeeded = await printResult(result, terminal, { json, traceback })
        process.exitCode = !ended ? exitCodes.temporary : succeeded ? exitCodes.ok : exitCodes.failed
      }),
    )
}
