/** Which process something belongs to, such that another one on this host can tell whether it is still there. */
import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'

export interface ProcessIdentity {
  /** Host, boot and pid namespace: process ids are comparable only within one. */
  readonly space: string
  readonly pid: number
  /** When the process started, in the kernel's ticks: tells it from a later one with the same id. Empty where the system does not say. */
  readonly started: string
}

export function identifyThisProcess(): ProcessIdentity {
  return { space: thisSpace(), pid: process.pid, started: statOf(process.pid)?.started ?? '' }
}

/** True only when it is certain: false for processes of other hosts and containers. */
export function isGone(identity: ProcessIdentity, own: ProcessIdentity): boolean {
  if (identity.space !== own.space) return false
  if (own.started !== '') {
    const stat = statOf(identity.pid)
    return stat === undefined || stat.started !== identity.started || stat.state === 'Z' || stat.state === 'X'
  }
  try {
    process.kill(identity.pid, 0)
    return false
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ESRCH'
  }
}

function thisSpace(): string {
  try {
    return `${hostname()} ${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${readlinkSync('/proc/self/ns/pid')}`
  } catch {
    return hostname()
  }
}

/** Undefined: no such process, or no /proc. */
function statOf(pid: number): { readonly state: string; readonly started: string } | undefined {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    return undefined
  }
  // pid (name) state ppid ...: the name may hold spaces and parentheses, so fields are counted from the last one. The start time is field 22.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return { state: fields[0] ?? '', started: fields[19] ?? '' }
}
