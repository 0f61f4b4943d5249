/** What `celeriac multi` does to its workers: processes of this host, known by their pid files. */
import { rmSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { startDetached } from '../daemon.js'
import { exitCodes } from '../exit-codes.js'
import { isOurs, readPidFile } from '../pid-file.js'
import type { MultiNode } from './parse.js'

/** What became of one worker. */
export type Did =
  | { readonly name: string; readonly state: 'started'; readonly pid: number }
  | { readonly name: string; readonly state: 'failed'; readonly exitCode: number; readonly said: string }
  | { readonly name: string; readonly state: 'told' | 'stopped' | 'killed'; readonly pid: number }
  | { readonly name: string; readonly state: 'down' }

/** How often it is looked whether a process has ended. */
const lookMs = 50

export async function start({ name, args, logFile }: MultiNode): Promise<Did> {
  const started = await startDetached(args, { cwd: process.cwd(), logFile })
  if ('pid' in started) return { name, state: 'started', pid: started.pid }
  return { name, state: 'failed', exitCode: started.exitCode === 0 ? exitCodes.internal : started.exitCode, said: started.said }
}

/** Sends the signal and waits for nothing. Throws what the system says, for a process of another user. */
export function tell({ name, pidFile }: MultiNode, signal: NodeJS.Signals): Did {
  const pid = readPidFile(pidFile)
  if (pid === undefined) return { name, state: 'down' }
  process.kill(pid, signal)
  return { name, state: 'told', pid }
}

/** One that is killed cannot remove its pid file. */
export async function kill(node: MultiNode): Promise<Did> {
  const did = tell(node, 'SIGKILL')
  if (did.state !== 'told') return did
  await ended(did.pid)
  rmSync(node.pidFile, { force: true })
  return { ...did, state: 'killed' }
}

/** Until the process that was told has ended. */
export async function gone(did: Did): Promise<Did> {
  if (did.state !== 'told') return did
  await ended(did.pid)
  return { ...did, state: 'stopped' }
}

async function ended(pid: number): Promise<void> {
  while (isOurs(pid)) await wait(lookMs)
}
