import type { Clock } from './clock.js'

/** From a process's own monotonic time to that of the machine: the same clock runs under both. */
const offsetMs = Number(process.hrtime.bigint()) / 1e6 - performance.now()

/** Monotonic ms that all processes of this machine share: no step of the wall clock moves it, a restart of the machine begins it anew. */
export function machineTime(clock: Clock): number {
  return clock.monotonic() + offsetMs
}
