/** The command line as Commander's program. Commands that are not used stay one line of help: their files are not loaded. */
import type { Command } from 'commander'
import { packageVersion } from '../internal/package-version.js'
import { commandTable } from './command-table.js'
import { commander } from './commander.js'
import { addGlobalFlags } from './flags.js'

/** With the commands of these names loaded; `all` is for documentation. */
export async function buildProgram(used: readonly string[] | 'all'): Promise<Command> {
  const program = new commander.Command('celeriac')
    .description('Celery for TypeScript: send tasks and run them.')
    .version(packageVersion(), '--version', 'show the version')
    .enablePositionalOptions()
    .showHelpAfterError('(celeriac --help shows what there is)')
    .addHelpText('after', '\nExample: celeriac -A ./app.ts worker --concurrency 4')
  addGlobalFlags(program)
  for (const { name, summary, load } of commandTable) {
    const command = program.command(name).description(summary).copyInheritedSettings(program)
    if (used === 'all' || used.includes(name)) (await load())(command)
    command.showHelpAfterError(`(celeriac ${name} --help shows what there is)`)
    addGlobalFlags(command)
  }
  // Throws instead of ending the process: main.ts gives the exit code.
  for (const command of [program, ...program.commands]) command.exitOverride()
  return program
}
