/** Loads the app that a command line names, gives it to the command, and closes its connections after it. */
import type { Command } from 'commander'
import type { Celeriac } from '../app/app.js'
import type { AppCore } from '../app/core.js'
import { loadApp } from '../app/load-app.js'
import { appFromEnvironment } from '../app/load-config.js'
import { applyConfigFlags, type GlobalFlags, globalFlags } from './flags.js'
import { openTerminal, type Terminal } from './terminal.js'

export interface CommandContext {
  readonly app: Celeriac
  readonly core: AppCore
  /** Absolute. */
  readonly file: string
  readonly exportName: string
  readonly terminal: Terminal
  readonly flags: GlobalFlags
}

export async function withApp(command: Command, run: (context: CommandContext) => Promise<void>): Promise<void> {
  const flags = globalFlags(command)
  if (flags.workdir !== undefined) process.chdir(flags.workdir)
  applyConfigFlags(command)
  const spec = flags.app ?? appFromEnvironment()
  const { app, file, exportName } = await loadApp(spec)
  const terminal = openTerminal(flags)
  if (spec === undefined) terminal.note(`app: ${file}:${exportName}`)
  // The app's own class: it may be of another copy of celeriac, whose private fields ours cannot read.
  const { core } = (app.constructor as typeof Celeriac).internals(app)
  try {
    await run({ app, core, file, exportName, terminal, flags })
  } finally {
    await app.close()
  }
}
