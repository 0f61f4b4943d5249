/** What `inspect` and `control` share: a command by its name, its arguments from the command line, and the answers of the workers. */
import type { Command } from 'commander'
import type { Replies } from '../app/inspect.js'
import type { CommandArgument } from '../control/command-table.js'
import { commandTable, findCommand } from '../control/command-table.js'
import { didYouMean } from '../internal/did-you-mean.js'
import { type Duration, toMs } from '../internal/duration.js'
import { safeLines } from '../internal/safe-text.js'
import { exitCodes } from './exit-codes.js'
import { toJson } from './json.js'
import type { Terminal } from './terminal.js'
import { UsageError } from './usage-error.js'
import { durationText, jsonOrText, nameList } from './values.js'
import { type CommandContext, withApp } from './with-app.js'

/** Flags that say which workers are asked, and how their answers are shown. */
export interface AudienceFlags {
  readonly timeout?: Duration
  readonly destination?: string[]
  readonly pattern?: string
  readonly json?: true
}

export function addTimeoutFlag(command: Command): Command {
  return command.option('-t, --timeout <duration>', 'wait for no more answers after so long without one (default: 1s)', (text) =>
    durationText(text, '--timeout'),
  )
}

export function addAudienceFlags(command: Command): Command {
  return addTimeoutFlag(command)
    .option('-d, --destination <names>', 'these workers, separated by commas', nameList)
    .option('--pattern <pattern>', "workers whose name fits, such as 'mail-*@*'")
    .option('-j, --json', 'write one JSON object: what each worker answered, by its name')
}

/** The workers that the flags choose, without the other flags of the command. */
export function audienceOf({ destination, pattern }: AudienceFlags): Pick<AudienceFlags, 'destination' | 'pattern'> {
  return { ...(destination === undefined ? {} : { destination }), ...(pattern === undefined ? {} : { pattern }) }
}

export interface Runnable {
  readonly name: string
  readonly kind: 'inspect' | 'control'
  readonly help: string
  readonly arguments: readonly CommandArgument[]
  readonly isSilent?: true
}

interface RemoteFlags extends AudienceFlags {
  readonly list?: true
}

export function defineRemote(
  command: Command,
  kind: 'inspect' | 'control',
  add: (command: Command) => void,
  read: (flags: never) => Readonly<Record<string, unknown>>,
): void {
  command.argument('[command]', 'what to ask for, by Celery’s name: see below'.replace('’', "'")).argument('[args...]', 'its arguments')
  addAudienceFlags(command).option('-l, --list', 'list the commands, those of the app too; with --json as an array')
  add(command)
  command.addHelpText('after', `\nCommands:\n${listed(offered(kind))}\nThe app's own commands are among those of --list.`)
  command.action((name: string | undefined, args: string[], flags: RemoteFlags) =>
    withApp(command, async (context) => {
      const own = context.core.commands.all().filter((one) => one.kind === kind)
      const all: readonly Runnable[] = [...offered(kind), ...own]
      if (flags.list === true) return context.terminal.data(flags.json === true ? JSON.stringify(all.map(described)) : listed(all))
      // What add() has defined, read() understands.
      await runRemote(runnable(name, kind, all), args, { ...flags, more: read(flags as never) }, context)
    }),
  )
}

const offered = (kind: 'inspect' | 'control'): readonly Runnable[] =>
  commandTable.filter((command) => command.kind === kind && command.isInternal === undefined)

const described = ({ name, help, arguments: args }: Runnable) => ({ name, arguments: args, help })

function listed(commands: readonly Runnable[]): string {
  const lines = commands.map(({ name, help, arguments: args }) => [[name, ...args.map(usage)].join(' '), help] as const)
  const width = Math.max(...lines.map(([left]) => left.length))
  return lines.map(([left, help]) => `  ${left.padEnd(width)}  ${help}`.trimEnd()).join('\n')
}

function usage({ name, kind, isRequired }: CommandArgument): string {
  const text = kind === 'list' ? `${name}...` : name
  return isRequired === true ? `<${text}>` : `[${text}]`
}

/** Throws UsageError with what was probably meant. */
function runnable(name: string | undefined, kind: 'inspect' | 'control', all: readonly Runnable[]): Runnable {
  if (name === undefined) throw new UsageError(`name a command; celeriac ${kind} --list shows what there is`)
  const wanted = findCommand(name)?.name ?? name
  const found = all.find((command) => command.name === wanted)
  if (found !== undefined) return found
  const other = findCommand(name)
  if (other !== undefined) throw new UsageError(`${other.name} is a command of celeriac ${other.kind}`)
  const near = didYouMean(
    name.replaceAll('-', '_'),
    all.map((command) => command.name),
  )
  throw new UsageError(
    `there is no command ${name}${near === undefined ? '' : `; did you mean ${near}?`} celeriac ${kind} --list shows what there is`,
  )
}

async function runRemote(
  command: Runnable,
  args: readonly string[],
  { timeout, json, more, ...flags }: AudienceFlags & { readonly more: Readonly<Record<string, unknown>> },
  { app, terminal }: CommandContext,
): Promise<void> {
  const given = { ...argumentsOf(command, args), ...more }
  const audience = audienceOf(flags)
  if (command.isSilent === true) {
    await app.control.cast(command.name, given, audience)
    if (json === true) terminal.data('{}')
    terminal.note('The workers were told; to this command none answers.')
    return
  }
  const replies = await app.control.broadcast(command.name, given, {
    ...audience,
    ...(timeout === undefined ? {} : { timeout: `${toMs(timeout, 'timeout')}ms` }),
  })
  showReplies(replies, terminal, { json: json === true })
}

/** Sets the exit code: nobody answered, or somebody could not do it. */
export function showReplies(replies: Replies, terminal: Terminal, { json }: { readonly json: boolean }): void {
  const nodes = Object.entries(replies).sort(([a], [b]) => (a < b ? -1 : 1))
  if (json) terminal.data(toJson(Object.fromEntries(nodes)))
  else for (const [node, reply] of nodes) terminal.data(safeLines(showReply(node, reply)))
  if (nodes.length === 0) {
    terminal.note('No worker answered: none is running, or none that was meant. See --timeout if they are far away.')
    process.exitCode = exitCodes.unavailable
  } else if (nodes.some(([, reply]) => isErrorReply(reply))) process.exitCode = exitCodes.failed
}

function showReply(node: string, reply: unknown): string {
  if (isErrorReply(reply)) return `-> ${node}: ERROR\n${indent(reply.error)}`
  const ok: unknown = typeof reply === 'object' && reply !== null && 'ok' in reply && Object.keys(reply).length === 1 ? reply.ok : undefined
  if (typeof ok === 'string') return `-> ${node}: OK\n${indent(ok)}`
  if (reply === null || reply === undefined) return `-> ${node}: OK`
  if (Array.isArray(reply)) {
    if (reply.length === 0) return `-> ${node}: OK\n${indent('- empty -')}`
    return `-> ${node}: OK\n${indent(reply.map((item) => `* ${typeof item === 'string' ? item : toJson(item)}`).join('\n'))}`
  }
  return `-> ${node}: OK\n${indent(typeof reply === 'string' ? reply : toJson(reply, 2))}`
}

export const isErrorReply = (reply: unknown): reply is { readonly error: string } =>
  typeof reply === 'object' && reply !== null && 'error' in reply && typeof reply.error === 'string'

const indent = (text: string): string => text.replaceAll(/^/gm, '    ')

/** Texts of the command line as the arguments that the command takes. Throws UsageError. */
export function argumentsOf({ name, arguments: specs }: Runnable, given: readonly string[]): Readonly<Record<string, unknown>> {
  const args: Record<string, unknown> = {}
  const left = [...given]
  for (const spec of specs) {
    const value = spec.kind === 'list' ? left.splice(0) : left.shift()
    if (value === undefined || value.length === 0) {
      if (spec.isRequired === true) throw new UsageError(`${name} needs: ${specs.map(usage).join(' ')}`)
      continue
    }
    args[spec.name] = typeof value === 'string' ? read(spec, value) : value
  }
  if (left.length > 0)
    throw new UsageError(`${name} takes ${specs.length === 0 ? 'no arguments' : specs.map(usage).join(' ')}, got also: ${left.join(' ')}`)
  return args
}

function read({ name, kind }: CommandArgument, text: string): unknown {
  switch (kind) {
    case 'text':
    case 'list':
      return text
    case 'number': {
      const value = Number(text)
      if (text.trim() === '' || !Number.isFinite(value)) throw new UsageError(`expected ${name} to be a number, got: ${text}`)
      return value
    }
    case 'boolean': {
      const value = { true: true, yes: true, on: true, 1: true, false: false, no: false, off: false, 0: false }[text.toLowerCase()]
      if (value === undefined) throw new UsageError(`expected ${name} to be true or false, got: ${text}`)
      return value
    }
    case 'json':
      return jsonOrText(text)
    default:
      return kind satisfies never
  }
}
