// @ts-check
// What a running task leaves behind, for run.mjs to read: how often tasks ran in this process, and when first and last. On the monotonic clock of the
// machine, which all processes and Python share. Kept in memory and written by a timer every 5 ms while tasks run, so that a task pays almost nothing.
import { appendFileSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'

const folder = process.env.BENCH_FOLDER ?? '.'
/** count, first, last, longest gap between two: nanoseconds. */
const marks = new Float64Array(4)
const bytes = new Uint8Array(marks.buffer)
/** @type {number | undefined} */
let descriptor
let isDirty = false

export function monotonicNs() {
  return Number(process.hrtime.bigint())
}

/** One task has run. */
export function mark() {
  const now = monotonicNs()
  const [count = 0, , last = 0, gap = 0] = marks
  marks[0] = count + 1
  if (count === 0) marks[1] = now
  else if (now - last > gap) marks[3] = now - last
  marks[2] = now
  if (isDirty) return
  isDirty = true
  setTimeout(write, 5)
}

function write() {
  isDirty = false
  descriptor ??= openSync(join(folder, `marks-${process.pid}`), 'w')
  writeSync(descriptor, bytes, 0, bytes.length, 0)
}

/** A task that was sent at that time starts now. @param {number} sentNs */
export function stamp(sentNs) {
  writeStamp(monotonicNs() - sentNs)
}

/** A task that was due at that time starts now. @param {number} dueMs since the epoch */
export function stampLate(dueMs) {
  writeStamp((performance.timeOrigin + performance.now() - dueMs) * 1e6)
}

/** @param {number} waited nanoseconds */
function writeStamp(waited) {
  appendFileSync(join(folder, `stamps-${process.pid}`), `${waited}\n`)
}

/** Keeps a CPU busy for so long: CPU time, so that a CPU that others use makes it longer, as it would with real work. @param {number} ms */
export function spin(ms) {
  const begin = process.cpuUsage()
  for (;;) {
    const { user, system } = process.cpuUsage(begin)
    if (user + system >= ms * 1000) return
  }
}
