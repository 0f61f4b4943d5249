import { expect, test } from 'vitest'
import { Project, shop } from './project.js'

const uuid = /^[0-9a-f]{8}-[0-9a-f-]{27}$/

test('tasks are called, run and looked up from the command line', async () => {
  await using project = new Project({ 'tasks.ts': shop })
  const worker = project.start(['worker', '-c', '1', '-n', 'one@%h', '--log-format', 'json'])
  await worker.says('ready.')

  expect(await project.run(['call', 'add', '2', '3', '--wait', '60', '-q'])).toEqual({ code: 0, stdout: '5\n', stderr: '' })
  expect(await project.run(['call', 'greet', 'ada', '--wait', '60', '-q'])).toMatchObject({ code: 0, stdout: 'hello ada\n' })
  expect(await project.run(['call', 'greet', '-k', '{"name": "bob"}', '--wait', '60s', '-q'])).toMatchObject({
    code: 0,
    stdout: 'hello bob\n',
  })
  const json = await project.run(['call', 'add', '-a', '[1, 1]', '--wait', '60', '--json'])
  expect(JSON.parse(json.stdout)).toEqual({ id: expect.stringMatching(uuid), state: 'SUCCESS', result: 2 })

  const failed = await project.run(['call', 'fail', '--wait', '60', '--json'])
  expect(failed.code).toBe(1)
  const { id, ...rest } = JSON.parse(failed.stdout)
  expect(rest).toEqual({
    state: 'FAILURE',
    error: { type: 'TypeError', message: 'no way' },
    traceback: expect.stringContaining('tasks.ts'),
  })
  expect(await project.run(['result', id, '--traceback'])).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/^TypeError: no way\n/),
    stderr: expect.stringContaining('FAILURE: TypeError: no way'),
  })

  worker.child.kill('SIGTERM')
  const ended = await worker.ended
  expect([ended.code, ended.stdout]).toEqual([0, ''])
  expect(ended.stderr).toMatch(/celeriac [\d.]+ {2}worker one@.* {2}\(pid \d+\)\n {2}app +shop {2}\(\.\/tasks\.ts\)\n/)
  const lines = ended.stderr.split('\n').filter((line) => line.startsWith('{'))
  expect(lines.map((line) => JSON.parse(line)).some(({ msg }) => /^Task add\[.*\] succeeded in .*: 5$/.test(msg))).toBe(true)
}, 90_000)

test('a task that waits is not a task that is done, and a wait has an end', async () => {
  await using project = new Project({ 'tasks.ts': shop })
  const { stdout } = await project.run(['call', 'add', '2', '3', '--countdown', '1h'])
  expect(stdout.trim()).toMatch(uuid)
  expect(await project.run(['result', stdout.trim(), '-q'])).toMatchObject({ code: 75, stdout: '' })
  expect(await project.run(['result', stdout.trim(), '--wait', '50ms'])).toMatchObject({
    code: 75,
    stderr: expect.stringContaining('ERR_TIMEOUT'),
  })
  const waited = await project.run(['call', 'add', '2', '3', '--wait', '50ms', '--json'])
  expect(waited.code).toBe(75)
  expect(JSON.parse(waited.stdout)).toEqual({ id: expect.stringMatching(uuid), state: 'PENDING' })
  expect(await project.run(['result', 'no-such-id'])).toMatchObject({
    code: 75,
    stderr: expect.stringContaining('nor the results know this id'),
  })
})

test('a task that this app does not have is sent, with a word of doubt', async () => {
  await using project = new Project({ 'tasks.ts': shop })
  expect(await project.run(['call', 'gret', 'ada'])).toMatchObject({
    code: 0,
    stderr: expect.stringContaining('this app has no task gret; it has greet'),
  })
})

test('purge asks, and where it cannot ask wants --yes', async () => {
  await using project = new Project({ 'tasks.ts': shop })
  for (const queue of ['celery', 'celery', 'mail']) await project.run(['call', 'add', '1', '2', '--queue', queue])
  expect(await project.run(['purge', '-Q', 'celery,mail'])).toMatchObject({
    code: 64,
    stdout: '',
    stderr: expect.stringContaining(
      'Remove all waiting messages of celery (2 messages), mail (1 message)? There is no terminal to ask on: add --yes',
    ),
  })
  expect(await project.run(['purge', '-Q', 'celery,mail', '-X', 'mail', '--yes', '--json'])).toMatchObject({
    code: 0,
    stdout: '{"celery":2}\n',
  })
  expect(await project.run(['purge', '-Q', 'celery,mail', '-f'])).toMatchObject({
    code: 0,
    stdout: 'celery: 0 messages removed\nmail: 1 message removed\n',
  })
})

test('a worker takes the modules, queues and limits that its flags name', async () => {
  await using project = new Project({
    'app.ts': `import { Celeriac } from 'celeriac'\nexport const app = new Celeriac('bare')`,
    'more.ts': `import { app } from './app.ts'\napp.task('slow', { bind: true }, async (self): Promise<void> => { await new Promise((_, fail) => self.signal.addEventListener('abort', () => fail(self.signal.reason))) })`,
  })
  const worker = project.start([
    '-A',
    './app.ts',
    'worker',
    '-c',
    '1',
    '-Q',
    'a,b',
    '-X',
    'b',
    '-I',
    './more.ts',
    '--soft-time-limit',
    '100ms',
    '-l',
    'WARNING',
  ])
  await worker.says('ready.')
  const { code, stdout } = await project.run(['-A', './app.ts', 'call', 'slow', '--queue', 'a', '--wait', '60', '--json'])
  expect([code, JSON.parse(stdout)]).toMatchObject([1, { state: 'FAILURE', error: { type: 'SoftTimeLimitExceeded' } }])
  worker.child.kill('SIGINT')
  // As Celery's: it was interrupted.
  expect(await worker.ended).toMatchObject({ code: 1, stderr: expect.stringMatching(/queues {3}a\n {2}tasks {4}slow\n/) })
})

test('a worker without a queue is refused', async () => {
  await using project = new Project({ 'tasks.ts': shop })
  expect(await project.run(['worker', '-X', 'celery'])).toMatchObject({
    code: 64,
    stderr: expect.stringContaining('no queue is left for this worker'),
  })
})
