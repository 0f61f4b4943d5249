/** What may follow on a command line: by the commands and flags there are, and by the app, where one is found. */
import { readdirSync } from 'node:fs'
import type { Command, Option } from 'commander'
import { configTable, type OptionName, rows } from '../../app/config-table.js'
import { commandTable as remoteTable } from '../../control/command-table.js'
import { commander } from '../commander.js'
import { addGlobalFlags } from '../flags.js'
import { buildProgram } from '../program.js'

export interface Suggestion {
  readonly value: string
  readonly help: string
}

/** What only the app knows. */
export interface AppNames {
  tasks(): Promise<readonly string[]>
  queues(): Promise<readonly string[]>
}

/** `line` is what was typed up to the cursor, the program first. `names` is given the value of `-A`. */
export async function suggest(line: string, names: (app: string | undefined) => AppNames): Promise<readonly Suggestion[]> {
  const words = wordsOf(line).slice(1)
  const current = words.pop() ?? ''
  const program = await buildProgram(words)
  let command = program
  let app: string | undefined
  let open: Option | undefined
  const given: string[] = []
  for (const word of words) {
    if (open !== undefined) {
      if (open.long === '--app') app = word
      open = undefined
    } else if (word.startsWith('-')) {
      const [flag = '', value] = word.split('=', 2)
      const option = optionsOf(command, program).find(({ long, short }) => long === plain(flag) || short === plain(flag))
      if (option?.long === '--app' && value !== undefined) app = value
      if (option?.required === true && value === undefined) open = option
    } else if (command === program) {
      command = program.commands.find((one) => one.name() === word) ?? command
      // Its words are flags of the worker.
      if (word === 'multi') command = await multiCommand(command)
    } else given.push(word)
  }
  const lists = names(app)
  const fits = (all: readonly Suggestion[]): readonly Suggestion[] => all.filter(({ value }) => value.startsWith(current))
  if (open !== undefined) return fits(await valuesOf(open, lists, current))
  const [, flag, typed] = /^(--[^=]+)=(.*)$/.exec(current) ?? []
  if (flag !== undefined) {
    const option = optionsOf(command, program).find(({ long }) => long === plain(flag))
    const values = option === undefined ? [] : await valuesOf(option, lists, typed ?? '')
    return fits(values.map(({ value, help }) => ({ value: `${flag}=${value}`, help })))
  }
  if (current.startsWith('-')) return fits(flagsOf(command, program))
  if (command === program) return fits(program.commands.map((one) => ({ value: one.name(), help: one.description() })))
  return fits(await argumentsOf(command, given, lists))
}

/** Of a shell: quotes and backslashes keep words together. */
function wordsOf(line: string): string[] {
  const words = [...line.matchAll(/(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"?|'[^']*'?)+/g)].map(([word]) => word.replaceAll(/\\(.)|["']/g, '$1'))
  return line === '' || /\s$/.test(line) ? [...words, ''] : words
}

/** `--pool:1`, a flag for one worker of multi, as the flag. */
const plain = (flag: string): string => flag.replace(/:.*$/, '')

const optionsOf = (command: Command, program: Command): readonly Option[] => [
  ...command.options,
  ...(command === program ? [] : program.options),
]

function flagsOf(command: Command, program: Command): Suggestion[] {
  const all = new Map(
    optionsOf(command, program).flatMap((option) => (option.hidden || option.long === undefined ? [] : [[option.long, option] as const])),
  )
  return [...all].map(([value, { description }]) => ({ value, help: description })).concat({ value: '--help', help: 'show what there is' })
}

async function multiCommand(multi: Command): Promise<Command> {
  const worker = new commander.Command('multi')
  const { define } = await import('../commands/worker.js')
  define(worker)
  for (const argument of multi.registeredArguments) worker.addArgument(argument)
  return addGlobalFlags(worker)
}

async function valuesOf({ flags, long }: Option, names: AppNames, current: string): Promise<Suggestion[]> {
  const named = (list: readonly string[]): Suggestion[] => list.map((value) => ({ value, help: '' }))
  if (long === '--queues' || long === '--exclude-queues' || long === '--queue') return afterComma(await names.queues(), current)
  if (long === '--task') return named(await names.tasks())
  if (/<(path|app|folder)>/.test(flags)) return files(current)
  const row = rows.find(([option]) => configTable[option].flag === flags)
  return named(row === undefined ? [] : choicesOf(row[0]))
}

/** The words that an option takes, where it takes a few. */
function choicesOf(option: OptionName): readonly string[] {
  const { expected } = configTable[option].kind
  return /^"[^"]+"( or "[^"]+")*(, or null)?$/.test(expected) ? [...expected.matchAll(/"([^"]+)"/g)].map(([, word = '']) => word) : []
}

function afterComma(list: readonly string[], current: string): Suggestion[] {
  const before = current.slice(0, current.lastIndexOf(',') + 1)
  const taken = before.split(',')
  return list.filter((name) => !taken.includes(name)).map((name) => ({ value: `${before}${name}`, help: '' }))
}

function files(current: string): Suggestion[] {
  const folder = current.slice(0, current.lastIndexOf('/') + 1)
  try {
    const entries = readdirSync(folder === '' ? '.' : folder, { withFileTypes: true })
    return entries
      .filter(({ name }) => name !== 'node_modules' && (!name.startsWith('.') || current.slice(folder.length).startsWith('.')))
      .map((entry) => ({ value: `${folder}${entry.name}${entry.isDirectory() ? '/' : ''}`, help: '' }))
  } catch {
    return []
  }
}

async function argumentsOf(command: Command, given: readonly string[], names: AppNames): Promise<Suggestion[]> {
  const kind = command.name()
  if (kind === 'call' && given.length === 0) return (await names.tasks()).map((value) => ({ value, help: '' }))
  if ((kind === 'inspect' || kind === 'control') && given.length === 0)
    return remoteTable.filter((one) => one.kind === kind && one.isInternal === undefined).map(({ name, help }) => ({ value: name, help }))
  const [command_, task] = given
  if (kind === 'control' && (command_ === 'rate_limit' || command_ === 'time_limit') && task === undefined)
    return (await names.tasks()).map((value) => ({ value, help: '' }))
  if (kind === 'control' && (command_ === 'add_consumer' || command_ === 'cancel_consumer') && task === undefined)
    return (await names.queues()).map((value) => ({ value, help: '' }))
  // Arguments that are one of a few words are described by nothing else.
  const { description = '' } = command.registeredArguments[given.length] ?? {}
  return /^[a-z]+(, [a-z]+)+$/.test(description) ? description.split(', ').map((value) => ({ value, help: '' })) : []
}
