// @ts-check
// The machine in words: what one needs to know to read absolute numbers, and how busy others kept it.
import { closeSync, fdatasyncSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs'
import { availableParallelism, loadavg, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'

export function machine() {
  return {
    system: `${process.platform} ${process.arch}`,
    cpus: availableParallelism(),
    memoryGib: Math.round(totalmem() / 2 ** 30),
    fdatasyncMs: Number(fdatasyncMs().toFixed(3)),
    loadBefore: Number((loadavg()[0] ?? 0).toFixed(2)),
  }
}

/** What one commit under synchronous=FULL waits for: the median of 100. */
function fdatasyncMs() {
  const folder = fileURLToPath(new URL('../.cache/bench/', import.meta.url))
  mkdirSync(folder, { recursive: true })
  const file = `${folder}fdatasync`
  const descriptor = openSync(file, 'w')
  const block = Buffer.alloc(4096)
  const times = Array.from({ length: 100 }, () => {
    writeSync(descriptor, block)
    const began = performance.now()
    fdatasyncSync(descriptor)
    return performance.now() - began
  }).sort((a, b) => a - b)
  closeSync(descriptor)
  rmSync(file)
  return times[50] ?? Number.NaN
}
