import type { Command } from 'commander'
import { exitCodes } from '../exit-codes.js'
import { type AudienceFlags, addAudienceFlags, audienceOf } from '../remote-command.js'
import { withApp } from '../with-app.js'

export function define(command: Command): void {
  addAudienceFlags(command)
  command.addHelpText('after', `\nEnds with ${exitCodes.unavailable} when no worker answers.`)
  command.action(({ timeout = 1, json, ...flags }: AudienceFlags) =>
    withApp(command, async ({ app, terminal }) => {
      const names = Object.keys(await app.control.ping({ ...audienceOf(flags), timeout })).sort()
      if (json === true) terminal.data(JSON.stringify(Object.fromEntries(names.map((name) => [name, { ok: 'pong' }]))))
      else for (const name of names) terminal.data(`-> ${name}: OK`)
      terminal.note(names.length === 0 ? 'No worker answered.' : `\n${names.length} ${names.length === 1 ? 'node' : 'nodes'} online.`)
      if (names.length === 0) process.exitCode = exitCodes.unavailable
    }),
  )
}
