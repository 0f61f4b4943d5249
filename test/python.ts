import { spawnSync } from 'node:child_process'
import { needs } from '../scripts/needs.mjs'

/** A Python that has celery, kombu and msgpack: the one named by CELERIAC_PYTHON, else the one that scripts/install.mjs --test has made. */
const found = process.env.CELERIAC_PYTHON || needs.celery?.find()

/**
 * For `test.skipIf(withoutPython())`: why tests against real Python cannot run here, false when they can.
 * In CI they must run: there a missing Python is an error.
 */
export function withoutPython(): string | false {
  if (found !== undefined) return false
  const reason = 'there is no Python with celery: run node scripts/install.mjs --test, or name one in CELERIAC_PYTHON'
  if (process.env.CI !== undefined && process.env.CI !== '') throw new Error(reason)
  return reason
}

/** Its command, for tests that talk to it while it runs. Throws when there is none. */
export function python(): string {
  if (found === undefined) throw new Error('there is no Python with celery')
  return found
}

/** Runs one script with JSON on its standard input and gives the JSON that it prints. Throws with what Python said. */
export function runPython(script: string, input: unknown): unknown {
  const run = spawnSync(python(), [script], {
    input: JSON.stringify(input),
    encoding: 'utf8',
    timeout: 80_000,
    maxBuffer: 256 * 1024 * 1024,
  })
  if (run.error !== undefined) throw run.error
  if (run.status !== 0) throw new Error(`${script} ended with ${run.status}: ${run.stderr}`)
  return JSON.parse(run.stdout)
}
