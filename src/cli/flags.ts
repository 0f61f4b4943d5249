/** Flags that every command has, and flags that are options of the app. */
import type { Command } from 'commander'
import { configTable, type OptionName, rows } from '../app/config-table.js'
import { setInEnvironment } from '../app/load-config.js'
import { OptionInvalidError } from '../errors.js'
import { commander } from './commander.js'
import { UsageError } from './usage-error.js'

/** The options of the app that each command takes as flags; those of the worker belong to it alone. */
const globalOptions: readonly OptionName[] = ['brokerUrl', 'resultBackend']

const heading = 'Flags of every command:'

/** They may stand before the command, as in Celery, or after it. */
export function addGlobalFlags(command: Command): Command {
  command
    .optionsGroup(heading)
    .option('-A, --app <app>', 'the app: a file (./src/app.ts), a package, or either with an export (./app.ts:mailer)')
  addConfigFlags(command, globalOptions)
  return command
    .option('--workdir <folder>', 'work in this folder')
    .option('-C, --no-color', 'no colours')
    .option('-q, --quiet', 'no words beside the data')
    .option('--verbose', 'show where an error comes from')
}

/** The rows of the table that have a flag and are no global ones. */
export function workerOptions(): readonly OptionName[] {
  return rows
    .filter(([option, row]) => row.flag !== undefined && row.group !== 'Beat' && !globalOptions.includes(option))
    .map(([option]) => option)
}

/** Those of beat, and of the log that every process that stays has. */
export function beatOptions(): readonly OptionName[] {
  const own = rows.filter(([, row]) => row.flag !== undefined && row.group === 'Beat').map(([option]) => option)
  return [...own, 'include', 'workerLogLevel', 'workerLogFormat', 'workerLogFile']
}

export function addConfigFlags(command: Command, options: readonly OptionName[]): void {
  for (const option of options) {
    const { flag, sentence } = configTable[option] as (typeof rows)[number][1] // rows differ only in what their kind takes and gives
    if (flag === undefined) continue
    const added = new commander.Option(flag, describe(sentence))
    command.addOption(added.isBoolean() ? added : added.argParser((text) => checked(option, flag, text)))
  }
}

/** Checked where it is given, so that the message names the flag; sent on as the text that it was. */
function checked(option: OptionName, flag: string, text: string): string {
  const { kind } = configTable[option]
  try {
    kind.parse(kind.readText?.(text), /--[a-z-]+/.exec(flag)?.[0] ?? option)
  } catch (error) {
    if (error instanceof OptionInvalidError) throw new UsageError(error.message)
    throw error
  }
  return text
}

/** Gives the flags that were used to the app, which is not loaded yet, and to the processes it starts. */
export function applyConfigFlags(command: Command): void {
  const given: Partial<Record<OptionName, string>> = {}
  const values: Readonly<Record<string, unknown>> = command.optsWithGlobals()
  for (const [option, { flag }] of rows) {
    const value = flag === undefined ? undefined : values[new commander.Option(flag).attributeName()]
    if (typeof value === 'string') given[option] = value
    else if (value === true) given[option] = 'true'
  }
  setInEnvironment(given)
}

export interface GlobalFlags {
  readonly app: string | undefined
  readonly workdir: string | undefined
  readonly color: boolean
  readonly quiet: boolean
  readonly verbose: boolean
}

export function globalFlags(command: Command): GlobalFlags {
  const values: Readonly<Record<string, unknown>> = command.optsWithGlobals()
  const text = (name: string): string | undefined => (typeof values[name] === 'string' ? values[name] : undefined)
  const noColor = command.opts().color === false || command.parent?.opts().color === false
  return { app: text('app'), workdir: text('workdir'), color: !noColor, quiet: values.quiet === true, verbose: values.verbose === true }
}

/** Help texts are plain: the table's sentences are Markdown and end with a full stop. */
function describe(sentence: string): string {
  const plain = sentence.replaceAll('`', '').replace(/\.$/, '')
  return plain[1] === plain[1]?.toLowerCase() ? `${plain[0]?.toLowerCase()}${plain.slice(1)}` : plain
}
