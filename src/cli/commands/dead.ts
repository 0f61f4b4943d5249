import type { Command } from 'commander'
import type { DeadLetterFilter } from '../../app/dead-letters.js'
import { parseRate } from '../../app/rate.js'
import { didYouMean } from '../../internal/did-you-mean.js'
import { safeText } from '../../internal/safe-text.js'
import type { DeadLetter } from '../../transport.js'
import { confirmed } from '../confirm.js'
import { type BulkAction, type BulkResult, bulk } from '../dead-bulk.js'
import { bodyBytes, facts, summary } from '../dead-letter-text.js'
import { exitCodes } from '../exit-codes.js'
import { toJson } from '../json.js'
import { table } from '../times.js'
import { UsageError } from '../usage-error.js'
import { count, timeOrAgo } from '../values.js'
import { type CommandContext, withApp } from '../with-app.js'

interface DeadFlags {
  readonly queue?: string
  readonly task?: string
  readonly reason?: string
  readonly since?: Date
  readonly before?: Date
  readonly limit?: number
  readonly rate?: number
  readonly all?: true
  readonly yes?: true
  readonly json?: true
}

const actions = ['list', 'show', 'replay', 'drop'] as const
type Action = (typeof actions)[number]

export function define(command: Command): void {
  command
    .argument('<action>', actions.join(', '))
    .argument('[ids...]', 'of dead letters, as list shows them')
    .option('-Q, --queue <name>', 'those that came from this queue')
    .option('--task <pattern>', "those of this task, or of tasks whose names fit: 'mail.*'")
    .option('--reason <text>', 'those whose reason has this text in it')
    .option('--since <time>', 'those that died at this time (ISO 8601) or later, or not longer ago than this: 2h', (text) =>
      timeOrAgo(text, '--since'),
    )
    .option('--before <time>', 'those that died before this time, or longer ago than this', (text) => timeOrAgo(text, '--before'))
    .option('-n, --limit <number>', 'so many at most, the oldest first (list: 100 if not given)', (text) =>
      count(text, '--limit', Number.MAX_SAFE_INTEGER),
    )
    .option('--rate <rate>', 'replay: not faster than this: 50/s, 100/m', rateText)
    .option('--all', 'replay and drop: all of them, or all that fit')
    .option('--yes', 'replay and drop: do not ask')
    .option('--json', 'write JSON')
    .addHelpText(
      'after',
      "\nThese are the dead letters of celeriac, which hold the message as it came. On RabbitMQ, queues behind dead-letter exchanges of your own are not among them.\n\nExample: celeriac dead replay --task 'mail.*' --since 2h --rate 50/s",
    )
    .action((action: string, ids: string[], flags: DeadFlags) => {
      // One of them, checked.
      if (actions.some((one) => one === action)) return withApp(command, (context) => run(action as Action, ids, flags, context))
      const near = didYouMean(action, actions)
      throw new UsageError(`expected dead ${actions.join('|')}, got: ${action}.${near === undefined ? '' : ` Did you mean ${near}?`}`)
    })
}

async function run(action: Action, ids: readonly string[], flags: DeadFlags, context: CommandContext): Promise<void> {
  const filter = filterOf(ids, flags)
  switch (action) {
    case 'list':
      return list(filter, flags, context)
    case 'show':
      return show(ids, filter, flags, context)
    case 'replay':
    case 'drop':
      return change(action, filter, flags, context)
    default:
      return action satisfies never
  }
}

async function list(filter: DeadLetterFilter, { limit = 100, json }: DeadFlags, { app, terminal }: CommandContext): Promise<void> {
  const letters = await app.deadLetters.list({ ...filter, limit })
  if (json === true) return terminal.data(JSON.stringify(letters.map(summary)))
  if (letters.length === 0) return terminal.note('There are none.')
  const rows = letters.map((letter) => {
    const { id, queue, diedAt, task, deliveries, reason } = summary(letter)
    return [
      id,
      safeText(queue),
      diedAt.slice(0, 19).replace('T', ' '),
      String(deliveries),
      safeText(task ?? '?', 60),
      safeText(reason, 100),
    ]
  })
  for (const line of table([['ID', 'QUEUE', 'DIED (UTC)', 'DELIVERIES', 'TASK', 'REASON'], ...rows])) terminal.data(line)
  const total = await app.deadLetters.count()
  if (letters.length === limit && total > limit) terminal.note(`${total} in all; --limit shows more.`)
}

async function show(
  ids: readonly string[],
  filter: DeadLetterFilter,
  { json }: DeadFlags,
  { app, terminal }: CommandContext,
): Promise<void> {
  if (ids.length === 0) throw new UsageError('celeriac dead show needs ids; celeriac dead list tells them')
  const missing = new Set(ids)
  const shown: DeadLetter[] = []
  await app.deadLetters.visit(filter, (letter) => {
    missing.delete(letter.id)
    if (json === true) shown.push(letter)
    else terminal.data(`${facts(letter).join('\n')}\n`)
    return missing.size > 0
  })
  if (json === true)
    terminal.data(
      toJson(
        shown.map((letter) => ({
          ...summary(letter),
          headers: letter.message.headers,
          properties: letter.message.properties,
          contentType: letter.message.contentType,
          contentEncoding: letter.message.contentEncoding,
          bodyBase64: bodyBytes(letter).toString('base64'),
        })),
      ),
    )
  tellMissing(missing, terminal)
}

async function change(action: BulkAction, filter: DeadLetterFilter, flags: DeadFlags, context: CommandContext): Promise<void> {
  const { app, terminal } = context
  const { all, yes, json, limit = Number.POSITIVE_INFINITY, rate } = flags
  if (Object.keys(filter).length === 0 && all !== true)
    throw new UsageError(`name what to ${action}: ids, one of --queue, --task, --reason, --since and --before, or --all`)
  if (rate !== undefined && action !== 'replay') throw new UsageError('--rate belongs to celeriac dead replay')
  let total = 0
  await app.deadLetters.visit(filter, () => ++total < limit)
  if (total > 0 && yes !== true) {
    const what = `${action === 'drop' ? 'Drop' : 'Replay'} ${total === 1 ? '1 dead letter' : `${total} dead letters`}?`
    if (!(await confirmed(action === 'drop' ? `${what} They are gone then.` : what))) return terminal.note(`Nothing was ${past[action]}.`)
  }
  const result = total === 0 ? nothing : await bulk(action, filter, { limit: total, rate, context })
  if (json === true)
    terminal.data(JSON.stringify({ [past[action]]: result.done, failed: result.failures, interrupted: result.isInterrupted }))
  else {
    terminal.data(`${result.done} of ${total} ${past[action]}`)
    for (const { id, message } of result.failures) terminal.note(`${id}: ${safeText(message)}`)
  }
  tellMissing(new Set((filter.ids ?? []).filter((id) => !result.seen.has(id))), terminal)
  if (result.failures.length > 0) process.exitCode = exitCodes.failed
  if (!result.isInterrupted) return
  terminal.note('Stopped. The same command goes on with those that are left.')
  process.exitCode = 130
}

const past = { replay: 'replayed', drop: 'dropped' } as const
const nothing: BulkResult = { done: 0, failures: [], seen: new Set(), isInterrupted: false }

/** An id may be one that was replayed or dropped before. */
function tellMissing(ids: ReadonlySet<string>, terminal: CommandContext['terminal']): void {
  for (const id of ids) terminal.note(`There is no dead letter ${safeText(id)}: it was replayed or dropped, or made room for others.`)
  if (ids.size > 0) process.exitCode = exitCodes.failed
}

function filterOf(ids: readonly string[], { queue, task, reason, since, before }: DeadFlags): DeadLetterFilter {
  const given = Object.entries({ ids: ids.length === 0 ? undefined : ids, queue, task, reason, since, before })
  return Object.fromEntries(given.filter(([, value]) => value !== undefined))
}

function rateText(text: string): number {
  const rate = parseRate(text)
  if (rate === undefined || rate === 0) throw new UsageError(`expected --rate to be a rate such as 50/s or 100/m, got: ${text}`)
  return rate
}
