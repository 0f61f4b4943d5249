/** The command line of `celeriac multi`: names of workers, options for all of them, and options for some (`-c:1-3 10`), by the flags that the worker has. */
import { constants, hostname } from 'node:os'
import { resolve } from 'node:path'
import type { Command, Option } from 'commander'
import { didYouMean } from '../../internal/did-you-mean.js'
import { nodeName, nodePath } from '../../internal/node-name.js'
import { UsageError } from '../usage-error.js'

/** One worker of several. */
export interface MultiNode {
  /** The whole name. */
  readonly name: string
  /** The command line that starts it in the background, without the program. */
  readonly args: readonly string[]
  /** Absolute. */
  readonly pidFile: string
  /** Absolute. */
  readonly logFile: string
}

export interface MultiCommand {
  readonly nodes: readonly MultiNode[]
  /** What stop sends. */
  readonly signal: NodeJS.Signals | undefined
}

interface Given {
  readonly option: Option
  readonly value: string | undefined
  /** For which workers; undefined for all. */
  readonly only: string | undefined
}

const ownFlags = ['--range-prefix', '--prefix', '--suffix'] as const
const defaults = { '--pidfile': '.celeriac/%n.pid', '--logfile': '.celeriac/%n.log' } as const

/** `worker` has the flags that a worker takes; `before`: those that stood before `multi`. Throws UsageError. */
export function parseMulti(words: readonly string[], worker: Command, before: readonly string[] = []): MultiCommand {
  const names: string[] = []
  const given: Given[] = []
  const own = new Map<string, string>()
  let signal: NodeJS.Signals | undefined
  let more: readonly string[] = []
  const left = [...words]
  for (let word = left.shift(); word !== undefined; word = left.shift()) {
    if (word === '--') {
      more = left.splice(0)
      continue
    }
    if (!word.startsWith('-')) {
      names.push(word)
      continue
    }
    const named = signalOf(word)
    if (named !== undefined) {
      signal = named
      continue
    }
    const { flag, only, attached } = partsOf(word)
    const isOwn = ownFlags.some((one) => one === flag)
    const option = isOwn ? undefined : worker.options.find(({ long, short }) => long === flag || short === flag)
    if (!isOwn && option === undefined) throw unknownFlag(flag, worker)
    const takesValue = isOwn || option?.required === true
    if (!takesValue && attached !== undefined) throw new UsageError(`${flag} takes no value, got: ${attached}`)
    const value = takesValue ? (attached ?? left.shift()) : undefined
    if (takesValue && value === undefined) throw new UsageError(`${flag} needs a value`)
    if (option === undefined) own.set(flag, value ?? '')
    else if (option.long === '--hostname') own.set('--hostname', value ?? '')
    else given.push({ option, value, only })
  }
  if (names.length === 0) throw new UsageError('name the workers, or say how many: celeriac multi start 3, celeriac multi start mail web')
  return { signal, nodes: nodesOf(names, given, own, [...before], more) }
}

/** `-9`, `-KILL`, `-SIGTERM`. */
function signalOf(word: string): NodeJS.Signals | undefined {
  const [, number, short] = /^-(?:(\d+)|(?:SIG)?([A-Z]{3,}\d?))$/.exec(word) ?? []
  // Names of the system, with their numbers.
  const all = Object.entries(constants.signals) as [NodeJS.Signals, number][]
  const found = all.find(([name, value]) => (number === undefined ? name === `SIG${short}` : value === Number(number)))?.[0]
  if (number !== undefined && found === undefined) throw new UsageError(`there is no signal ${number}`)
  return found
}

/** `--pool:1=async`, `-c:mail`, `-c3`. */
function partsOf(word: string): { readonly flag: string; readonly only: string | undefined; readonly attached: string | undefined } {
  const [, long, longOnly, longValue] = /^(--[a-z][a-z-]*)(?::([^=]+))?(?:=([\s\S]*))?$/.exec(word) ?? []
  if (long !== undefined) return { flag: long, only: longOnly, attached: longValue }
  const [, short, shortOnly, shortValue] = /^(-[A-Za-z])(?::(\S+)|(\S+))?$/.exec(word) ?? []
  if (short !== undefined) return { flag: short, only: shortOnly, attached: shortValue }
  throw new UsageError(`${word} is no flag`)
}

function unknownFlag(flag: string, worker: Command): UsageError {
  const known = [...ownFlags, ...worker.options.flatMap(({ long, hidden }) => (long === undefined || hidden ? [] : [long]))]
  const near = flag.startsWith('--') ? didYouMean(flag, known) : undefined
  return new UsageError(`the worker has no flag ${flag}.${near === undefined ? '' : ` Did you mean ${near}?`}`)
}

function nodesOf(
  names: readonly string[],
  given: readonly Given[],
  own: ReadonlyMap<string, string>,
  before: readonly string[],
  more: readonly string[],
): readonly MultiNode[] {
  const [first = ''] = names
  const isCount = names.length === 1 && /^[1-9]\d*$/.test(first)
  const keys = isCount ? Array.from({ length: Number(first) }, (_, index) => String(index + 1)) : names
  const prefix = isCount ? (own.get('--range-prefix') ?? 'celery') : (own.get('--prefix') ?? '')
  const suffix = own.get('--suffix') ?? own.get('--hostname') ?? hostname()
  const chosen = given.map(({ only, ...rest }) => ({ ...rest, keys: only === undefined ? undefined : keysOf(only, keys, isCount) }))
  const nodes = keys.map((key) => {
    const name = key.includes('@') ? nodeName(key) : nodeName(`${prefix}${key}@${suffix}`)
    const options = new Map<string, { readonly option?: Option; readonly value: string | undefined }>(
      Object.entries(defaults).map(([flag, value]) => [flag, { value }]),
    )
    // What is said of some stands over what is said of all, wherever it stands.
    for (const { option, value, keys: some } of chosen) if (some === undefined) options.set(flagOf(option), { option, value })
    for (const { option, value, keys: some } of chosen) if (some?.has(key) === true) options.set(flagOf(option), { option, value })
    const folder = options.get('--workdir')?.value ?? workdirOf(before)
    const path = (flag: keyof typeof defaults): string => resolve(folder, nodePath(options.get(flag)?.value ?? defaults[flag], name))
    const [pidFile, logFile] = [path('--pidfile'), path('--logfile')]
    options.set('--pidfile', { value: pidFile })
    options.set('--logfile', { value: logFile })
    options.delete('--detach')
    const flags = [...options].map(([flag, { value }]) => (value === undefined ? flag : `${flag}=${value}`))
    return { name, pidFile, logFile, args: [...before, 'worker', '--detach', `--hostname=${name}`, ...flags, ...more] }
  })
  const twice = nodes.find(({ pidFile }, index) => nodes.findIndex((other) => other.pidFile === pidFile) !== index)
  if (twice !== undefined)
    throw new UsageError(`two workers would have the pid file ${twice.pidFile}: put %n into --pidfile, and give each a name of its own`)
  return nodes
}

const flagOf = (option: Option): string => option.long ?? option.short ?? ''

const workdirOf = (before: readonly string[]): string =>
  before.find((word) => word.startsWith('--workdir='))?.slice('--workdir='.length) ?? '.'

/** `1`, `1-3`, `4,5`, `mail,web`: of several by number, those that there are not are left out. */
function keysOf(only: string, keys: readonly string[], isCount: boolean): ReadonlySet<string> {
  const parts = only.split(',')
  const found = parts.flatMap((part) => {
    if (keys.includes(part)) return [part]
    const [, from, to] = /^(\d+)(?:-(\d+))?$/.exec(part) ?? []
    if (from !== undefined && to !== undefined) return keys.slice(Math.max(0, Number(from) - 1), Number(to))
    const one = from === undefined ? undefined : keys[Number(from) - 1]
    if (one !== undefined) return [one]
    if (from !== undefined && isCount && parts.length > 1) return []
    const near = didYouMean(part, keys)
    throw new UsageError(`there is no worker ${part}.${near === undefined ? '' : ` Did you mean ${near}?`}`)
  })
  return new Set(found)
}
