import { type CommandArgument, findCommand } from '../control/command-table.js'
import { AlreadyRegisteredError, OptionInvalidError } from '../errors.js'
import { checkName } from './registry.js'

/** A command of remote control that an app adds. Each worker of the app that is meant runs it in its main process, where no task runs: it must not block. */
export interface OwnCommand {
  readonly name: string
  /** Asks (`celeriac inspect`) or changes something (`celeriac control`). */
  readonly kind: 'inspect' | 'control'
  readonly help: string
  readonly arguments: readonly CommandArgument[]
  /** What it gives, or throws, is the answer: JSON data. */
  readonly run: (args: Readonly<Record<string, unknown>>, worker: { readonly hostname: string }) => unknown
}

export interface OwnCommandOptions {
  /** Default `control`. */
  kind?: 'inspect' | 'control'
  /** One line for `--help`. */
  help?: string
  /** In the order in which a command line has them; without, it takes none, and programs may send what they like. */
  arguments?: readonly CommandArgument[]
}

/** The commands that one app has added, by name. */
export class OwnCommands {
  readonly #commands = new Map<string, OwnCommand>()

  /** Throws AlreadyRegisteredError for a name that Celery or the app has already. */
  add(name: string, { kind = 'control', help = '', arguments: args = [] }: OwnCommandOptions, run: OwnCommand['run']): void {
    checkName('command', name)
    if (typeof run !== 'function') throw new OptionInvalidError(`the function of command ${name}`, 'a function', run)
    if (findCommand(name) !== undefined || this.#commands.has(name)) throw new AlreadyRegisteredError(name)
    this.#commands.set(name, { name, kind, help, arguments: args, run })
  }

  get(name: string): OwnCommand | undefined {
    return this.#commands.get(name)
  }

  all(): readonly OwnCommand[] {
    return [...this.#commands.values()]
  }
}
