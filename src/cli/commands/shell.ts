import { once } from 'node:events'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { type REPLServer, start } from 'node:repl'
import { text } from 'node:stream/consumers'
import { inspect } from 'node:util'
import { compileFunction } from 'node:vm'
import type { Command } from 'commander'
import { importTasks } from '../../app/import-tasks.js'
import { packageVersion } from '../../internal/package-version.js'
import { toJson } from '../json.js'
import { shellScope } from '../shell-scope.js'
import { UsageError } from '../usage-error.js'
import { type CommandContext, withApp } from '../with-app.js'

interface ShellFlags {
  readonly withoutTasks?: true
  readonly history: string
  readonly json?: true
}

type Scope = Readonly<Record<string, unknown>>

export function define(command: Command): void {
  command
    .option('-T, --without-tasks', 'tasks by their whole names alone, as in tasks["mail.send"]')
    .option('--history <path>', 'where lines are kept for the next time', join(homedir(), '.celeriac_history'))
    .option('--json', 'for code on the standard input: write what it gives as JSON')
    .addHelpText(
      'after',
      `
It is Node's own shell, with await, and these names: app, its tasks by their short names and by tasks['mail.send'], chain, group, chord,
crontab, every, at, solar, control, schedule, result(id), and all that the app's file exports.

Code may also come on the standard input: an expression, or statements with a return.

Example: echo "await add.delay(1, 2).get()" | celeriac -A ./app.ts shell`,
    )
    .action(({ withoutTasks, history, json }: ShellFlags) =>
      withApp(command, async (context) => {
        await importTasks(context.core)
        const scope = await shellScope(context, { withTasks: withoutTasks !== true })
        if (process.stdin.isTTY === true && process.stdout.isTTY === true) await converse(context, scope, history)
        else await runInput(context, scope, json === true)
      }),
    )
}

/** On a terminal, until it is left. */
async function converse({ app, terminal, flags }: CommandContext, scope: Scope, history: string): Promise<void> {
  terminal.note(`celeriac ${packageVersion()} shell of ${app.name}: ${Object.keys(scope).join(' ')}\n.help tells more, .exit ends it`)
  const server = start({ prompt: 'celeriac> ', useColors: flags.color })
  fill(server, scope)
  server.on('reset', () => fill(server, scope))
  await new Promise<void>((resolve) =>
    server.setupHistory(history, (error) => {
      if (error !== null) terminal.note(`lines are not kept: ${error.message}`)
      resolve()
    }),
  )
  await once(server, 'exit')
}

/** What comes on the standard input, as one piece: an expression, or statements with a return. */
async function runInput({ terminal }: CommandContext, scope: Scope, json: boolean): Promise<void> {
  const value = await compiled(await text(process.stdin), Object.keys(scope))(...Object.values(scope))
  if (json) terminal.data(toJson(value))
  else if (value !== undefined) terminal.data(typeof value === 'string' ? value : inspect(value))
}

/** Throws UsageError for what is no JavaScript. */
function compiled(code: string, names: readonly string[]): (...values: readonly unknown[]) => Promise<unknown> {
  const compile = (body: string) => compileFunction(`return (async () => ${body})()`, [...names], { filename: 'stdin' })
  try {
    // The function gives what its code says: a promise. A line break ends a comment.
    return compile(`(${code}\n)`) as (...values: readonly unknown[]) => Promise<unknown>
  } catch {
    try {
      return compile(`{${code}\n}`) as (...values: readonly unknown[]) => Promise<unknown>
    } catch (error) {
      throw new UsageError(`this is no JavaScript: ${error instanceof Error ? error.message : error}`)
    }
  }
}

function fill(server: REPLServer, scope: Scope): void {
  for (const [name, value] of Object.entries(scope)) server.context[name] = value
}
