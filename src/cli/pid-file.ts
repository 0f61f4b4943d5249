/**
 * The file that says which process a worker or beat is. It is written whole or not at all, never over that of a process that runs, and removed at the end.
 * A process id alone says little after a restart of the machine or in a container, so whoever reads it looks whether that process can be one of ours.
 */
import { randomUUID } from 'node:crypto'
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, isAbsolute, resolve } from 'node:path'
import { AlreadyRunningError } from '../errors.js'

/** Writes the id of this process. What it gives removes the file again: call it at the end. Throws AlreadyRunningError. */
export function claimPidFile(path: string): () => void {
  mkdirSync(dirname(path), { recursive: true })
  const own = `${path}.${randomUUID()}`
  writeFileSync(own, `${process.pid}\n`)
  try {
    while (!linked(own, path)) putAside(path)
  } finally {
    rmSync(own)
  }
  return () => {
    if (readNumber(path) === process.pid) rmSync(path, { force: true })
  }
}

/** The process that a pid file names, if it runs and can be one of ours. */
export function readPidFile(path: string): number | undefined {
  const pid = readNumber(path)
  return pid !== undefined && isOurs(pid, path) ? pid : undefined
}

/**
 * A process that runs `celeriac` and holds a pid file: this one, as far as its command line says which. After a restart the number may be that of another
 * worker, or of an editor that has a file of the same project open. Where the system does not tell what a process is, each that runs.
 */
export function isOurs(pid: number, path?: string): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    // EPERM: it runs, as another user.
    if (!(error instanceof Error && 'code' in error && error.code === 'EPERM')) return false
  }
  let command: string
  try {
    command = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return true
  }
  // Empty: it has ended, and nobody has taken note.
  if (!/celeriac|cli[\\/]main\.js/.test(command)) return false
  const words = command.split('\0')
  const at = words.findIndex((word) => word === '--pidfile' || word.startsWith('--pidfile='))
  if (at < 0) return false
  const held = words[at] === '--pidfile' ? words[at + 1] : words[at]?.slice('--pidfile='.length)
  // A relative one, or one with a part to be filled in, may be any.
  return path === undefined || held === undefined || !isAbsolute(held) || held.includes('%') || held === resolve(path)
}

/** False: there is such a file. */
function linked(from: string, to: string): boolean {
  try {
    linkSync(from, to)
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  }
}

/** Removes the file of a process that has ended. Another starter may do the same at this moment: what it has written since is put back. */
function putAside(path: string): void {
  const pid = readNumber(path)
  if (pid !== undefined && pid !== process.pid && isOurs(pid, path)) throw new AlreadyRunningError(path, pid)
  const aside = `${path}.${randomUUID()}`
  try {
    renameSync(path, aside)
  } catch {
    return
  }
  if (readNumber(aside) !== pid) linked(aside, path)
  rmSync(aside)
}

/** Undefined: there is none, or no number in it. */
function readNumber(path: string): number | undefined {
  try {
    const text = readFileSync(path, 'utf8').trim()
    return /^[1-9]\d*$/.test(text) ? Number(text) : undefined
  } catch {
    return undefined
  }
}
