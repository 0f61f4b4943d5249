import { spawnSync } from 'node:child_process'

/** A Python that has celery, kombu and msgpack; the path of its executable. */
const python = process.env.CELERIAC_PYTHON

/**
 * For `test.skipIf(withoutPython())`: why tests against real Python cannot run here, false when they can.
 * In CI they must run: there a missing CELERIAC_PYTHON is an error.
 */
export function withoutPython(): string | false {
  if (python !== undefined && python !== '') return false
  if (process.env.CI !== undefined && process.env.CI !== '')
    throw new Error('set CELERIAC_PYTHON to a python that has celery: CI must run the tests against Python')
  return 'CELERIAC_PYTHON is not set: pip install "celery[redis,msgpack,yaml]" into some Python and name its executable there'
}

/** Runs one script with JSON on its standard input and gives the JSON that it prints. Throws with what Python said. */
export function runPython(script: string, input: unknown): unknown {
  if (python === undefined) throw new Error('CELERIAC_PYTHON is not set')
  const run = spawnSync(python, [script], { input: JSON.stringify(input), encoding: 'utf8', timeout: 60_000, maxBuffer: 256 * 1024 * 1024 })
  if (run.error !== undefined) throw run.error
  if (run.status !== 0) throw new Error(`${script} ended with ${run.status}: ${run.stderr}`)
  return JSON.parse(run.stdout)
}
