import { hostname } from 'node:os'
import { expect, test } from 'vitest'
import { argumentsOf } from '../../dist/cli/remote-command.js'
import { jsonArray, jsonOrText } from '../../dist/cli/values.js'
import { findCommand } from '../../dist/control/command-table.js'
import { until } from '../conformance/wait.js'
import { Project, shop } from './project.js'

const node = `one@${hostname()}`

test('workers are asked, steered and watched from the command line', async () => {
  await using project = new Project({
    'tasks.ts': `${shop}
app.controlCommand('greet', ({ who }) => ({ ok: 'hello ' + who }), { kind: 'inspect', help: 'say hello', arguments: [{ name: 'who', kind: 'text', isRequired: true }] })
`,
  })
  const worker = project.start(['worker', '-c', '1', '-n', 'one@%h', '--log-format', 'json', '-E', '--heartbeat-interval', '500ms'])
  await worker.says('ready.')
  const here = ['-d', node, '-t', '10']

  expect(await project.run(['status', ...here])).toMatchObject({
    code: 0,
    stdout: `-> ${node}: OK\n`,
    stderr: expect.stringContaining('1 node online.'),
  })
  expect((await project.run(['inspect', 'greet', 'you', ...here])).stdout).toBe(`-> ${node}: OK\n    hello you\n`)
  expect(JSON.parse((await project.run(['inspect', 'registered', '--json', ...here])).stdout)).toEqual({ [node]: ['add', 'fail', 'greet'] })
  expect(await project.run(['control', 'rate-limit', 'nope', '5/m', ...here])).toMatchObject({
    code: 1,
    stdout: expect.stringContaining('unknown task'),
  })
  expect(await project.run(['control', 'shutdown', '-d', node])).toMatchObject({ code: 0, stdout: '' })
  expect((await worker.ended).code).toBe(0)
})

test('events of workers are written as they come, and what they tell as a table', async () => {
  await using project = new Project({ 'tasks.ts': shop })
  const worker = project.start(['worker', '-c', '1', '-n', 'one@%h', '--log-format', 'json', '-E', '--heartbeat-interval', '500ms'])
  await worker.says('ready.')
  const dump = project.start(['events', '--dump', '--json'])
  await dump.says('listening')
  expect(await project.run(['call', 'greet', 'ada', '--wait', '60', '-q'])).toMatchObject({ code: 0 })
  await dump.says('task-succeeded', 'stdout')
  // A worker that is slow for once tells of itself later.
  let workers: unknown[] = []
  const hears = async (): Promise<boolean> => {
    workers = JSON.parse((await project.run(['events', '--once', '1.5s', '--json'])).stdout).workers
    return workers.length > 0
  }
  await until(hears, 'the worker is heard')
  expect(workers).toMatchObject([{ hostname: node, isAlive: true, processed: 1 }])
  const dumps = async (): Promise<boolean> =>
    (await project.run(['events', '--dump', '--once', '1.5s', '--json'])).stdout.includes('"worker-heartbeat"')
  await until(dumps, 'a heartbeat is written')
  dump.child.kill('SIGINT')
  const { stdout, code } = await dump.ended
  const types = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).type)
  expect(code).toBe(0)
  expect(types.filter((type) => type.startsWith('task-'))).toEqual(['task-received', 'task-started', 'task-succeeded'])
  expect(types).toContain('worker-heartbeat')
})

test('what is wrong on the command line is told with what to write', async () => {
  await using project = new Project({ 'tasks.ts': shop })
  const said = async (...args: string[]) => {
    const { code, stderr } = await project.run([...args, '-t', '0.1'])
    return [code, stderr]
  }
  expect(await said('inspect', 'actve')).toEqual([64, expect.stringContaining('did you mean active?')])
  expect(await said('inspect', 'ping')).toEqual([69, expect.stringContaining('No worker answered')])
  expect(await said('status')).toEqual([69, expect.stringContaining('No worker answered')])
  expect(JSON.parse((await project.run(['list', 'bindings', '--json'])).stdout)).toEqual([
    { queue: 'celery', exchange: 'celery', routingKey: 'celery' },
  ])
  expect(JSON.parse((await project.run(['inspect', '--list', '--json'])).stdout)).toContainEqual({
    name: 'ping',
    arguments: [],
    help: expect.any(String),
  })
  expect(JSON.parse((await project.run(['report', '--json'])).stdout)).toMatchObject({ broker: ['sqlite://'], results: 'sqlite://' })
  expect((await project.run(['report'])).stdout).toMatch(/software -> celeriac:[\d.]+ node:/)
})

test('arguments of a task are JSON where they can be, and lose nothing', () => {
  expect(['5', '[1, "two"]', 'hello', 'a:b', 'NaN', '"5"'].map(jsonOrText)).toEqual([5, [1, 'two'], 'hello', 'a:b', 'NaN', '5'])
  expect(jsonOrText('12345678901234567890')).toBe(12345678901234567890n)
  expect(jsonArray('[12345678901234567890]')).toEqual([12345678901234567890n])
})

test('arguments of a command line are read as the command takes them', () => {
  const spec = (name: string) => {
    const found = findCommand(name)
    if (found === undefined) throw new Error(`there is no ${name}`)
    return found
  }
  const read = (name: string, ...args: string[]) => argumentsOf(spec(name), args)
  expect(read('rate_limit', 'add', '5/m')).toEqual({ task_name: 'add', rate_limit: '5/m' })
  expect(read('revoke', 'a', 'b')).toEqual({ task_id: ['a', 'b'] })
  expect(read('terminate', 'KILL', 'a')).toEqual({ signal: 'KILL', task_id: ['a'] })
  expect(read('time-limit', 'add', '3')).toEqual({ task_name: 'add', soft: 3 })
  expect(read('conf', 'yes')).toEqual({ with_defaults: true })
  expect(read('election', 'id', 'task', '{"task": "add"}')).toEqual({ id: 'id', topic: 'task', action: { task: 'add' } })
  expect(read('ping')).toEqual({})
  for (const [wrong, says] of [
    [['pool_grow', 'many'], 'expected n to be a number'],
    [['conf', 'perhaps'], 'true or false'],
    [['time_limit'], '<task_name> <soft> [hard]'],
    [['ping', 'extra'], 'takes no arguments'],
    [['revoke'], '<task_id...>'],
  ] as const) {
    const [name, ...args] = wrong
    expect(() => read(name, ...args)).toThrow(says)
  }
})
