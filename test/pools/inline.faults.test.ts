/** What the inline pools do not survive, in processes of their own: the worker ends, and says why. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { within } from '../conformance/wait.js'

async function runWorker(
  task: string,
  body = '{}',
): Promise<{ code: number | null; signal: string | null; stdout: string; stderr: string }> {
  const script = fileURLToPath(new URL('./fixtures/inline-worker.mjs', import.meta.url))
  const worker = spawn(process.execPath, [script, task, body], { stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  worker.stdout.on('data', (chunk) => {
    stdout += chunk
  })
  worker.stderr.on('data', (chunk) => {
    stderr += chunk
  })
  try {
    const [code, signal] = await within(
      new Promise<[number | null, string | null]>((resolve) => worker.once('close', (code, signal) => resolve([code, signal]))),
      'the worker ends',
    )
    return { code, signal, stdout, stderr }
  } finally {
    worker.kill('SIGKILL')
  }
}

test.each(['spin', 'block'])(
  'P14: %s: a blocked event loop ends the process with 70, and names the running tasks',
  async (task) => {
    const { code, stderr } = await runWorker(task, JSON.stringify({ ms: 60_000 }))
    expect(code).toBe(70)
    expect(stderr).toContain('the-waiting-one, the-other-one')
  },
  15_000,
)

test('P14: a block shorter than the limit is let pass', async () => {
  const { code, stdout, stderr } = await runWorker('block', JSON.stringify({ ms: 100 }))
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toContain('success')
})

test('P13: an uncaught error ends the process', async () => {
  const { code, stderr } = await runWorker('uncaught')
  expect(code).not.toBe(0)
  expect(stderr).toContain('from a timer')
})

test('P11: process.exit() in a task ends the process with its code', async () => {
  expect((await runWorker('exit', JSON.stringify({ code: 3 }))).code).toBe(3)
})
