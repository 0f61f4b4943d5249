// @ts-check
// A worker with all the processes that it started: their CPU time and memory, by Linux's /proc. Elsewhere both are unknown.
import { readdirSync, readFileSync } from 'node:fs'

/** @param {number} root @returns {number[]} */
export function treeOf(root) {
  if (process.platform !== 'linux') return [root]
  /** @type {Map<number, number[]>} */
  const children = new Map()
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    if (!Number.isInteger(pid)) continue
    const parent = Number(afterName(read(`/proc/${pid}/stat`))[1])
    children.set(parent, [...(children.get(parent) ?? []), pid])
  }
  const tree = [root]
  for (const pid of tree) tree.push(...(children.get(pid) ?? []))
  return tree
}

/** CPU time of all threads that live, in microseconds. @param {number} root @returns {number | undefined} */
export function cpuMicrosOf(root) {
  if (process.platform !== 'linux') return undefined
  let nanoseconds = 0
  for (const pid of treeOf(root)) {
    for (const thread of list(`/proc/${pid}/task`)) nanoseconds += Number(read(`/proc/${pid}/task/${thread}/schedstat`).split(' ')[0] ?? 0)
  }
  return nanoseconds / 1000
}

/** @param {number} root @returns {{ processes: number, rssMb: number, pssMb: number } | undefined} */
export function memoryOf(root) {
  if (process.platform !== 'linux') return undefined
  const tree = treeOf(root)
  let rssKib = 0
  let pssKib = 0
  for (const pid of tree) {
    const rollup = read(`/proc/${pid}/smaps_rollup`)
    rssKib += Number(/^Rss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0)
    pssKib += Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0)
  }
  return { processes: tree.length, rssMb: rssKib / 1024, pssMb: pssKib / 1024 }
}

/** The fields of a stat line behind the program's name, which may hold spaces: state, parent, … @param {string} stat */
function afterName(stat) {
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}

/** Empty when the process has just ended. @param {string} path */
function read(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** @param {string} path @returns {string[]} */
function list(path) {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}
