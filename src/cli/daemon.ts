/** Commands that stay, in the background: their flags, their pid file, and how one is started so that whoever starts it learns whether it could. */
import { spawn } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { givenInEnvironment } from '../app/load-config.js'
import { nodePath } from '../internal/node-name.js'
import { LogFile } from '../worker/log-file.js'
import { commander } from './commander.js'
import { exitCodes } from './exit-codes.js'
import { applyConfigFlags, globalFlags } from './flags.js'
import { claimPidFile } from './pid-file.js'
import { openTerminal } from './terminal.js'

export interface DaemonFlags {
  readonly detach?: true
  /** This is the process in the background. */
  readonly detached?: true
  readonly pidfile?: string
}

export function addDaemonFlags(command: Command): void {
  command
    .option('-D, --detach', 'run in the background; ends when that has begun, with its exit code when it could not')
    .option('--pidfile <path>', 'write the process id here, and refuse to run beside a process that has it; %n and %h as in --logfile')
    .addOption(new commander.Option('--detached').hideHelp())
}

/** What the process in the background has said when it ended before it had begun. */
export interface NotStarted {
  readonly exitCode: number
  readonly said: string
}

/** Starts `celeriac ...args` in the background. Its output goes to the log file, or nowhere. */
export async function startDetached(
  args: readonly string[],
  { cwd, logFile }: { readonly cwd: string; readonly logFile: string | undefined },
): Promise<{ readonly pid: number } | NotStarted> {
  const log = logFile === undefined ? undefined : new LogFile(logFile)
  const before = logFile === undefined ? 0 : statSync(logFile).size
  try {
    const output = log?.fd ?? 'ignore'
    const child = spawn(
      process.execPath,
      [...process.execArgv, fileURLToPath(new URL('./main.js', import.meta.url)), ...args, '--detached'],
      {
        cwd,
        detached: true,
        stdio: ['ignore', output, output, 'ipc'],
      },
    )
    return await new Promise((done, fail) => {
      child.once('error', fail)
      child.once('exit', (code) => {
        const said = logFile === undefined ? '' : readFileSync(logFile).subarray(before).toString('utf8').trim()
        done({ exitCode: code ?? exitCodes.internal, said })
      })
      child.once('message', () => {
        child.disconnect()
        child.unref()
        done({ pid: child.pid ?? 0 })
      })
    })
  } finally {
    log?.close()
  }
}

/** `--detach`: the same command line again, in the background. */
export async function detach(command: Command, node: string): Promise<void> {
  const flags = globalFlags(command)
  const terminal = openTerminal(flags)
  applyConfigFlags(command)
  const cwd = resolve(flags.workdir ?? '.')
  // What the app itself says is known only to the process that loads it.
  const given = givenInEnvironment().find(({ option }) => option === 'workerLogFile')?.value
  const logFile = typeof given === 'string' ? resolve(cwd, nodePath(given, node)) : undefined
  const started = await startDetached(process.argv.slice(2), { cwd: process.cwd(), logFile })
  if ('pid' in started) {
    terminal.note(
      `${node} runs in the background (pid ${started.pid})${logFile === undefined ? '; what it says goes nowhere without --logfile' : ''}`,
    )
    return
  }
  terminal.note(`${node} could not start${started.said === '' ? '; run it without --detach to see why' : `:\n${started.said}`}`)
  process.exitCode = started.exitCode
}

/** For the process that stays, as soon as it is certain to run: claims its pid file for as long as it lives, and tells who waits for its start. */
export function begin({ pidfile, detached }: DaemonFlags, node: string): void {
  if (pidfile !== undefined) process.once('exit', claimPidFile(resolve(nodePath(pidfile, node))))
  if (detached !== true || process.send === undefined) return
  process.send({ started: process.pid })
  process.disconnect()
}
