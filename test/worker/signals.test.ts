import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test } from 'vitest'
import { until } from '../live-app.js'

const script = fileURLToPath(new URL('./fixtures/signals.mjs', import.meta.url))
const children: ChildProcess[] = []

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

async function started(environment: { HOW?: string; GRACE?: string } = {}) {
  const child = spawn(process.execPath, [script], { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...environment } })
  children.push(child)
  const lines: string[] = []
  let rest = ''
  child.stdout.on('data', (chunk) => {
    const parts = `${rest}${chunk}`.split('\n')
    rest = parts.pop() ?? ''
    lines.push(...parts)
  })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  const ended = once(child, 'close')
  await until(() => lines.includes('started'))
  return { child, lines, ended, said: () => said }
}

test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
  '%s stops warm: what runs ends, what waits stays in its queue, exit code 0',
  async (signal) => {
    const { child, lines, ended } = await started()
    child.kill(signal)
    await until(() => lines.includes('stopping'))
    child.stdin.write('go\n')
    expect(await ended).toEqual([0, null])
    expect(lines).toEqual(['started', 'stopping', 'ended', 'left: 1'])
  },
)

test('SIGTERM again changes nothing', async () => {
  const { child, lines, ended } = await started()
  child.kill('SIGTERM')
  await until(() => lines.includes('stopping'))
  child.kill('SIGTERM')
  child.stdin.write('go\n')
  expect(await ended).toEqual([0, null])
  expect(lines).toEqual(['started', 'stopping', 'ended', 'left: 1'])
})

test.each([
  ['SIGQUIT', ['SIGQUIT']],
  ['a second SIGINT', ['SIGINT', 'SIGINT']],
  ['SIGQUIT after SIGTERM', ['SIGTERM', 'SIGQUIT']],
] as const)('%s stops cold: a task that is told to end and throws for it goes back to its queue', async (_, [first, second]) => {
  const { child, lines, ended, said } = await started({ HOW: 'throws' })
  child.kill(first)
  await until(() => lines.includes('stopping'))
  if (second !== undefined) child.kill(second)
  expect(await ended).toEqual([0, null])
  expect(lines).toEqual(['started', 'stopping', 'left: 2'])
  if (first === 'SIGINT') expect(said()).toMatch(/^Warm shutdown: .*Ctrl-C again/)
  expect(said()).toContain('Cold shutdown: running tasks go back to their queue')
})

test('a task that ends in order when a cold stop tells it to has ended', async () => {
  const { child, lines, ended } = await started({ HOW: 'returns' })
  child.kill('SIGQUIT')
  expect(await ended).toEqual([0, null])
  expect(lines).toEqual(['started', 'stopping', 'aborted: WorkerShutdown', 'ended', 'left: 1'])
})

test('a cold stop does not wait for a task that does not listen', async () => {
  const { child, lines, ended } = await started()
  child.kill('SIGQUIT')
  expect(await ended).toEqual([0, null])
  expect(lines).toEqual(['started', 'stopping', 'left: 2'])
})

test('with a grace a cold stop first waits that long for tasks to end; the next signal does not', async () => {
  const patient = await started({ GRACE: '20' })
  patient.child.kill('SIGQUIT')
  await until(() => patient.lines.includes('stopping'))
  patient.child.stdin.write('go\n')
  expect(await patient.ended).toEqual([0, null])
  expect(patient.lines).toEqual(['started', 'stopping', 'ended', 'left: 1'])
  const impatient = await started({ GRACE: '20', HOW: 'throws' })
  impatient.child.kill('SIGQUIT')
  await until(() => impatient.lines.includes('stopping'))
  impatient.child.kill('SIGQUIT')
  expect(await impatient.ended).toEqual([0, null])
  expect(impatient.lines).toEqual(['started', 'stopping', 'left: 2'])
  expect(impatient.said()).toMatch(/^Soft shutdown: running tasks have 20 s.*\nCold shutdown: /)
})
