// @ts-check
// The runner's side of marks.mjs.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * @typedef {{ count: number, firstNs: number, lastNs: number, gapNs: number }} Marks
 * @param {string} folder @returns {Marks[]} One for each process that ran tasks.
 */
export function marksOf(folder) {
  return filesOf(folder, 'marks-')
    .map((file) => {
      const bytes = readFileSync(file)
      if (bytes.length < 32) return { count: 0, firstNs: 0, lastNs: 0, gapNs: 0 }
      const [count, firstNs, lastNs, gapNs] = [0, 8, 16, 24].map((at) => bytes.readDoubleLE(at))
      return { count: count ?? 0, firstNs: firstNs ?? 0, lastNs: lastNs ?? 0, gapNs: gapNs ?? 0 }
    })
    .filter(({ count }) => count > 0)
}

/** Milliseconds that stamped tasks waited, in the order in which they ran. @param {string} folder @returns {number[][]} by process */
export function stampsOf(folder) {
  return filesOf(folder, 'stamps-').map((file) =>
    readFileSync(file, 'utf8')
      .trim()
      .split('\n')
      .map((line) => Number(line) / 1e6),
  )
}

/** @param {readonly Marks[]} marks */
export function total(marks) {
  return {
    count: marks.reduce((sum, { count }) => sum + count, 0),
    firstNs: Math.min(...marks.map(({ firstNs }) => firstNs)),
    lastNs: Math.max(...marks.map(({ lastNs }) => lastNs)),
  }
}

/** @param {string} folder @param {string} prefix */
function filesOf(folder, prefix) {
  return readdirSync(folder)
    .filter((name) => name.startsWith(prefix))
    .map((name) => join(folder, name))
}
