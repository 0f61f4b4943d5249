/** What a command writes: data to stdout, words for people to stderr. */
import { styleText } from 'node:util'
import { errorHelp } from '../error-help.js'
import { safeLines } from '../internal/safe-text.js'
import { commander } from './commander.js'
import { errorCode, exitCodeOf, exitCodes, systemCode } from './exit-codes.js'
import { UsageError } from './usage-error.js'

export interface Terminal {
  /** A line of data. */
  data(line: string): void
  /** A line for people; `--quiet` keeps it back. */
  note(line: string): void
}

export function openTerminal({ quiet }: { readonly quiet: boolean }): Terminal {
  return {
    data: (line) => void process.stdout.write(`${line}\n`, endWhenUnread),
    note: (line) => void (quiet || process.stderr.write(`${line}\n`)),
  }
}

/** Nobody reads on (`| head`), and nothing is left to do; or there is no room for it. */
function endWhenUnread(error?: Error | null): void {
  if (error === undefined || error === null) return
  if (systemCode(error) === 'EPIPE') process.exit(exitCodes.ok)
  process.exit(report(error, { verbose: false, color: false }))
}

/** Tells of the error on stderr and gives the exit code for it. Commander has written its own already. */
export function report(error: unknown, { verbose, color }: { readonly verbose: boolean; readonly color: boolean }): number {
  if (error instanceof commander.CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage
  const label = color ? styleText('red', 'error') : 'error'
  if (error instanceof UsageError) {
    process.stderr.write(`${label}  ${error.message}\n`)
    return exitCodes.usage
  }
  const code = errorCode(error)
  const message = error instanceof Error ? error.message : String(error)
  process.stderr.write(`${label}  ${code === undefined ? '' : `${code}  `}${safeLines(message)}\n`)
  const help = code === undefined ? undefined : errorHelp[code]
  if (help !== undefined) process.stderr.write(`       ${help.replaceAll('`', '')}\n`)
  if (verbose && error instanceof Error) process.stderr.write(`${stackWithCauses(error)}\n`)
  else if (code === undefined && systemCode(error) === undefined)
    process.stderr.write('       This is not an error that celeriac knows: --verbose shows where it comes from.\n')
  return exitCodeOf(error)
}

function stackWithCauses(error: Error): string {
  const stack = error.stack ?? error.message
  return error.cause instanceof Error ? `${stack}\ncaused by: ${stackWithCauses(error.cause)}` : stack
}
