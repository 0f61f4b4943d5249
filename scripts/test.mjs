// @ts-check
// Everything that must hold, as CI runs it: build, format and lint, types, docs, package, tests. The last line counts all of it: `N passed, N failed`.
// Arguments are given to Vitest: `npm test -- test/app`. `--full`, or CELERIAC_TESTS=full, takes every cell of each matrix (test/harness/depth.ts).
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { setPriority } from 'node:os'
import { fileURLToPath } from 'node:url'
import { filesToLookAtAgain, judge } from './second-look.mjs'

/** @typedef {import('./second-look.mjs').Failure} Failure */

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = `${root}/.cache/run-${process.pid}`
const full = process.argv.includes('--full') || process.env.CELERIAC_TESTS === 'full'
const given = process.argv.slice(2).filter((argument) => argument !== '--full')
const bin = (/** @type {string} */ path) => `${root}/node_modules/${path}`

/** Nothing that follows could work without it. */
const build = { name: 'build and types of src', command: [`${root}/scripts/build.mjs`] }
/** One after the other, beside the tests, in the time in which those wait. */
const checks = [
  { name: 'format and lint', command: [bin('@biomejs/biome/bin/biome'), 'check', '.'] },
  // With threads it does the same work several times over; what the package declares is checked by test/package.test.ts.
  {
    name: 'types of tests and examples',
    command: [bin('typescript/bin/tsc'), '-p', `${root}/tsconfig.test.json`, '--singleThreaded', '--skipLibCheck'],
  },
  { name: 'docs are current', command: [`${root}/scripts/docs.mjs`, '--check'] },
  { name: 'package', command: [bin('publint/src/cli.js'), '--strict'] },
]

const count = { passed: 0, failed: 0, skipped: 0 }
/** @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set()
/** @type {NodeJS.Signals | undefined} */
let stoppedBy
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
  process.on(signal, () => {
    stoppedBy ??= signal
    for (const child of running) signalGroup(child, signal)
  })
}

try {
  mkdirSync(folder, { recursive: true })
  const isBuilt = tell(await runCheck(build))
  if (isBuilt && stoppedBy === undefined) {
    const checked = runChecks()
    const failures = await runTests(checked)
    for (const each of await checked) tell(each)
    // What was seen to hold, against what the page says: only after a run of all tests.
    if (stoppedBy === undefined && given.length === 0) {
      const name = 'docs/reliability-results.md'
      const command = [`${root}/scripts/reliability.mjs`, '--check', ...(full ? ['--full'] : []), `${folder}/faults.jsonl`]
      tell(await runCheck({ name, command }))
    }
    tellFailed(failures)
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
if (stoppedBy !== undefined) console.log(`stopped by ${stoppedBy}`)
console.log(`${count.passed} passed, ${count.failed} failed${count.skipped === 0 ? '' : `, ${count.skipped} skipped`}`)
process.exitCode = stoppedBy !== undefined ? 130 : count.failed > 0 ? 1 : 0

/** @typedef {{ name: string, ok: boolean, output: string, seconds: number }} Checked */

async function runChecks() {
  /** @type {Checked[]} */
  const done = []
  for (const check of checks) if (stoppedBy === undefined) done.push(await runCheck(check, { behind: true }))
  return done
}

/** @param {{ name: string, command: string[] }} check @param {{ behind?: boolean }} [how] @returns {Promise<Checked>} */
async function runCheck({ name, command }, { behind = false } = {}) {
  const start = performance.now()
  const { ok, output } = await node(command, { quiet: true, behind })
  return { name, ok, output, seconds: (performance.now() - start) / 1000 }
}

/** @param {Checked} checked */
function tell({ name, ok, output, seconds }) {
  console.log(`${ok ? 'ok    ' : 'FAILED'}  ${name}  (${seconds.toFixed(1)} s)`)
  if (ok) count.passed++
  else {
    count.failed++
    console.log(output)
  }
  return ok
}

/** Those that failed for good. @param {Promise<unknown>} checked */
async function runTests(checked) {
  const first = await look(given)
  count.passed += first.passed
  count.skipped += first.skipped
  const files = filesToLookAtAgain(first.failures)
  if (files.length === 0 || stoppedBy !== undefined) return first.failures
  await checked
  console.log(`\n${first.failures.length} failed. A second look, with nothing else running: ${files.join(' ')}`)
  const second = await look([...files, '--no-file-parallelism', '--maxConcurrency=1'])
  const { failed, unsteady } = judge(first.failures, second.failures)
  count.passed += unsteady.filter(({ isTest }) => isTest).length
  for (const failure of unsteady) console.log(`UNSTEADY (holds when it runs alone)  ${oneOf(failure)}`)
  return failed
}

/** @param {readonly Failure[]} failures */
function tellFailed(failures) {
  count.failed += failures.length
  for (const failure of failures) console.log(`FAILED  ${oneOf(failure)}`)
}

/** @param {Failure} failure */
function oneOf({ file, name, says }) {
  return `${file} > ${name}\n    ${says.replaceAll('\n', '\n    ')}`
}

/** One run of Vitest. @param {readonly string[]} args @returns {Promise<{ passed: number, skipped: number, failures: readonly Failure[] }>} */
async function look(args) {
  const [report, failed] = [`${folder}/vitest.json`, `${folder}/failures.json`]
  for (const file of [report, failed]) rmSync(file, { force: true })
  const { ok, leftBehind } = await node([
    bin('vitest/vitest.mjs'),
    'run',
    '--reporter=default',
    '--reporter=json',
    '--reporter=./test/harness/failures.ts',
    `--outputFile=${report}`,
    ...args,
  ])
  const counted = existsSync(report) ? JSON.parse(readFileSync(report, 'utf8')) : { numPassedTests: 0, numPendingTests: 0, numTodoTests: 0 }
  /** @type {Failure[]} */
  const failures = existsSync(failed) ? JSON.parse(readFileSync(failed, 'utf8')) : []
  if (leftBehind && stoppedBy === undefined) {
    failures.push({ file: '', name: 'Vitest', says: 'left processes running (they were killed)', isTest: false })
  }
  if (!ok && failures.length === 0)
    failures.push({ file: '', name: 'Vitest', says: 'ended with an error and named no test', isTest: false })
  return { passed: counted.numPassedTests, skipped: counted.numPendingTests + counted.numTodoTests, failures }
}

/** `behind`: whatever else runs goes first. @param {string[]} command @returns {Promise<{ ok: boolean, output: string, leftBehind: boolean }>} */
function node(command, { quiet = false, behind = false } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, command, {
      cwd: root,
      stdio: quiet ? ['ignore', 'pipe', 'pipe'] : ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, CELERIAC_TEST_FOLDER: folder, CELERIAC_TESTS: full ? 'full' : 'some' },
      // A group of its own: what it starts can be stopped with it, however it ends.
      detached: true,
    })
    running.add(child)
    if (behind && child.pid !== undefined) setPriority(child.pid, 10)
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', (text) => (output += text))
    child.once('error', reject)
    const closed = new Promise((done) => child.once('close', done))
    child.once('exit', async (code) => {
      running.delete(child)
      const leftBehind = !(await groupEnds(child, 3000))
      if (leftBehind) signalGroup(child, 'SIGKILL')
      await closed
      resolve({ ok: code === 0, output: output.trim(), leftBehind })
    })
  })
}

/** @param {import('node:child_process').ChildProcess} child @param {NodeJS.Signals | 0} signal @returns {boolean} False when no process of the group is left. */
function signalGroup(child, signal) {
  if (child.pid === undefined) return false
  try {
    // Windows has no groups.
    return process.platform === 'win32' ? child.kill(signal) : process.kill(-child.pid, signal)
  } catch {
    return false
  }
}

/** @param {import('node:child_process').ChildProcess} child @param {number} deadlineMs */
async function groupEnds(child, deadlineMs) {
  const end = performance.now() + deadlineMs
  while (signalGroup(child, 0)) {
    if (performance.now() > end) return false
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return true
}
