import type { Command } from 'commander'
import { didYouMean } from '../../internal/did-you-mean.js'
import { nodePath } from '../../internal/node-name.js'
import { commander } from '../commander.js'
import { exitCodes } from '../exit-codes.js'
import { addGlobalFlags, globalFlags } from '../flags.js'
import { type Did, gone, kill, start, tell } from '../multi/cluster.js'
import { type MultiCommand, type MultiNode, parseMulti } from '../multi/parse.js'
import { openTerminal, type Terminal } from '../terminal.js'
import { UsageError } from '../usage-error.js'

interface MultiFlags {
  readonly json?: true
}

/** Those of multi itself among what follows its action. */
const ownWords = new Map<string, 'json' | 'quiet'>([
  ['--json', 'json'],
  ['-q', 'quiet'],
  ['--quiet', 'quiet'],
])

interface Tools {
  readonly terminal: Terminal
  readonly json: boolean
}

type Action = (command: MultiCommand, tools: Tools) => Promise<void> | void

const actions: Readonly<Record<string, Action>> = {
  start: ({ nodes }, tools) => each(nodes, tools, start),
  stop: ({ nodes, signal = 'SIGTERM' }, tools) => each(nodes, tools, async (node) => tell(node, signal)),
  stopwait: ({ nodes, signal = 'SIGTERM' }, tools) => {
    const told = new Map(nodes.map((node) => [node, tell(node, signal)]))
    return each(nodes, tools, (node) => gone(told.get(node) ?? { name: node.name, state: 'down' }))
  },
  restart: ({ nodes, signal = 'SIGTERM' }, tools) => {
    const told = new Map(nodes.map((node) => [node, tell(node, signal)]))
    return each(nodes, tools, async (node) => {
      await gone(told.get(node) ?? { name: node.name, state: 'down' })
      return start(node)
    })
  },
  kill: ({ nodes }, tools) => each(nodes, tools, kill),
  names: ({ nodes }, { terminal, json }) => {
    const names = nodes.map(({ name }) => name)
    terminal.data(json ? JSON.stringify(names) : names.join('\n'))
  },
  show: ({ nodes }, { terminal, json }) => {
    if (json) terminal.data(JSON.stringify(nodes))
    else for (const { args } of nodes) terminal.data(['celeriac', ...args.map(quoted)].join(' '))
  },
}

const all = [...Object.keys(actions), 'get', 'expand']

export function define(command: Command): void {
  command
    .argument('<action>', all.join(', '))
    .argument('[words...]', 'how many workers or their names, and flags of the worker: -c 4 for all, -c:1-3 4 or -c:mail 4 for some')
    .option('--json', 'write JSON: what became of each worker; may stand among the words')
    .passThroughOptions()
    .allowUnknownOption()
    .addHelpText(
      'after',
      `
start      start them in the background: pid and log are .celeriac/<name>.pid and .log; see --pidfile, --logfile
stop       tell them to end: by SIGTERM, or the signal that is given as -INT or -9
stopwait   the same, and wait until they have ended
restart    the same, and start each again when it has ended
kill       end them at once, by SIGKILL
names      their names
show       the command line of each
get        get <name> <words...>: the command line of one
expand     expand <text> <words...>: the text with %n, %h, %d and %p of each

Also --range-prefix, --prefix, --suffix and --hostname for their names, and -- before what only the worker reads.

Example: celeriac -A ./app.ts multi start 3 -c 3 -c:1 10 -Q:2,3 mail`,
    )
  command.action(async (action: string, given: string[], { json }: MultiFlags) => {
    if (given.includes('--help') || given.includes('-h')) return command.help()
    const said = new Set([...(json === true ? ['json'] : []), ...given.map((word) => ownWords.get(word))])
    const words = given.filter((word) => !ownWords.has(word))
    const tools: Tools = { terminal: openTerminal({ quiet: globalFlags(command).quiet || said.has('quiet') }), json: said.has('json') }
    const parse = async (rest: readonly string[]): Promise<MultiCommand> => parseMulti(rest, await workerCommand(), before(command))
    const [first, ...rest] = words
    if (action === 'get' || action === 'expand') {
      if (first === undefined) throw new UsageError(`celeriac multi ${action} needs a ${action === 'get' ? 'name' : 'text'} first`)
      const { nodes } = await parse(rest)
      if (action === 'expand') {
        const texts = nodes.map(({ name }) => nodePath(first, name))
        return tools.terminal.data(tools.json ? JSON.stringify(texts) : texts.join('\n'))
      }
      const found = nodes.find(({ name }) => name === first || name.split('@')[0] === first)
      if (found === undefined) throw new UsageError(`there is no worker ${first}: ${nodes.map(({ name }) => name).join(', ')}`)
      return actions.show?.({ nodes: [found], signal: undefined }, tools)
    }
    const chosen = Object.hasOwn(actions, action) ? actions[action] : undefined
    if (chosen === undefined) {
      const near = didYouMean(action, all)
      throw new UsageError(`expected celeriac multi ${all.join('|')}, got: ${action}.${near === undefined ? '' : ` Did you mean ${near}?`}`)
    }
    await chosen(await parse(words), tools)
  })
}

/** One after the other: the outcome of each is told as it comes, and the worst is the exit code. */
async function each(nodes: readonly MultiNode[], { terminal, json }: Tools, run: (node: MultiNode) => Promise<Did>): Promise<void> {
  const all: Did[] = []
  for (const node of nodes) {
    const did = await run(node)
    all.push(did)
    terminal.note(wordsOf(did))
    if (did.state === 'failed') process.exitCode = exitCodes.failed
  }
  if (json) terminal.data(JSON.stringify(all))
}

function wordsOf(did: Did): string {
  switch (did.state) {
    case 'started':
      return `> ${did.name}: OK (pid ${did.pid})`
    case 'failed':
      return `> ${did.name}: FAILED (exit code ${did.exitCode})${did.said === '' ? '' : `\n${did.said.replaceAll(/^/gm, '    ')}`}`
    case 'told':
      return `> ${did.name}: told to end (pid ${did.pid})`
    case 'stopped':
    case 'killed':
      return `> ${did.name}: ${did.state.toUpperCase()} (pid ${did.pid})`
    case 'down':
      return `> ${did.name}: DOWN`
    default:
      return did satisfies never
  }
}

/** The flags that a worker takes. */
async function workerCommand(): Promise<Command> {
  const worker = new commander.Command('worker')
  const { define: defineWorker } = await import('./worker.js')
  defineWorker(worker)
  return addGlobalFlags(worker)
}

/** What stood before `multi`, for each worker. */
function before(command: Command): string[] {
  const program = command.parent
  if (program === null) return []
  return program.options.flatMap((option) => {
    const name = option.attributeName()
    if (program.getOptionValueSource(name) !== 'cli') return []
    const value: unknown = program.getOptionValue(name)
    return [typeof value === 'string' ? `${option.long}=${value}` : (option.long ?? '')]
  })
}

/** As a shell reads it. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}
