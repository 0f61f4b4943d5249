import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { expect, test } from 'vitest'
import { define } from '../../dist/cli/commands/worker.js'
import { addGlobalFlags } from '../../dist/cli/flags.js'
import { parseMulti } from '../../dist/cli/multi/parse.js'
import { isOurs } from '../../dist/cli/pid-file.js'
import { nodePath } from '../../dist/internal/node-name.js'
import { until } from '../conformance/wait.js'
import { Project, shop } from './project.js'

const host = hostname()

/** The names and the flags of each worker, without those that each has. */
function parsed(...words: string[]): string[] {
  const worker = new Command('worker')
  define(worker)
  return parseMulti(words, addGlobalFlags(worker), ['--app=./a.ts']).nodes.map(({ name, args }) =>
    [name, ...args.filter((word) => !/^(--app=|worker$|--detach|--hostname|--pidfile|--logfile)/.test(word))].join(' '),
  )
}

test('workers are counted or named, and flags are those of all, of a range, of a list or of one', () => {
  expect(parsed('3', '-c', '3', '-c:1', '10')).toEqual([
    `celery1@${host} --concurrency=10`,
    `celery2@${host} --concurrency=3`,
    `celery3@${host} --concurrency=3`,
  ])
  expect(parsed('4', '-Q:1-3', 'images,video', '-Q:4,5', 'data', '-E')).toEqual([
    `celery1@${host} --task-events --queues=images,video`,
    `celery2@${host} --task-events --queues=images,video`,
    `celery3@${host} --task-events --queues=images,video`,
    `celery4@${host} --task-events --queues=data`,
  ])
  expect(parsed('image', 'video@%h', 'data@other', '-c:image,data@other', '2', '--pool:2=async')).toEqual([
    `image@${host} --concurrency=2`,
    `video@${host} --pool=async`,
    'data@other --concurrency=2',
  ])
  expect(parsed('2', '--range-prefix=w', '-n', 'h.example.com', '--', '--purge')).toEqual([
    'w1@h.example.com --purge',
    'w2@h.example.com --purge',
  ])
  // What is said of one stands over what is said of all, wherever it stands.
  expect(parsed('2', '-c:2', '9', '-c3')).toEqual([`celery1@${host} --concurrency=3`, `celery2@${host} --concurrency=9`])
})

test.each<[string[], string]>([
  [[], 'name the workers, or say how many'],
  [['2', '--concurency', '3'], 'Did you mean --concurrency?'],
  [['2', '-c'], '-c needs a value'],
  [['2', '-E=3'], '-E takes no value'],
  [['2', '-c:5', '3'], 'there is no worker 5'],
  [['mail', 'web', '-c:mial', '3'], 'Did you mean mail?'],
  [['2', '--pidfile', 'all.pid'], 'two workers would have the pid file'],
  [['2', '-99'], 'there is no signal 99'],
])('%j is refused', (words, message) => {
  expect(() => parsed(...words)).toThrow(message)
})

test('a path for each worker, by its name', () => {
  expect(nodePath('/run/%n-%h-%d-%p-%i%I%%%x', 'mail@a.example.com')).toBe('/run/mail-a.example.com-example.com-mail@a.example.com-0%%x')
})

test('workers run in the background, one for each name, until they are stopped', async () => {
  await using project = new Project({ 'tasks.ts': shop })
  const file = (path: string): string => join(project.folder, path)
  const pidOf = (name: string): number => Number(readFileSync(file(`.celeriac/${name}.pid`), 'utf8'))
  const multi = async (...args: string[]) => {
    const { stdout, ...rest } = await project.run(['multi', ...args])
    return { ...rest, did: stdout === '' ? [] : JSON.parse(stdout) }
  }
  const words = ['2', '-c', '1', '-P', 'async', '--json']
  try {
    // Of a process that runs, and is not ours: as after a restart of a container.
    mkdirSync(file('.celeriac'))
    writeFileSync(file('.celeriac/celery1.pid'), `${process.ppid}\n`)
    const started = await multi('start', '3', ...words.slice(1), '--pool:3=nope')
    expect(started).toMatchObject({
      code: 1,
      did: [
        { name: `celery1@${host}`, state: 'started', pid: pidOf('celery1') },
        { state: 'started' },
        { state: 'failed', exitCode: 64, said: expect.stringContaining('expected --pool to be') },
      ],
    })
    await until(() => readFileSync(file('.celeriac/celery1.log'), 'utf8').includes('ready.'), 'the log says ready', 20_000)
    const again = await multi('start', '1', '-P', 'async', '--json')
    expect(again).toMatchObject({ code: 1, did: [{ state: 'failed', exitCode: 73 }] })
    expect(again.stderr).toContain('ERR_ALREADY_RUNNING')

    const before = [pidOf('celery1'), pidOf('celery2')]
    expect((await multi('restart', ...words)).did).toMatchObject([{ state: 'started' }, { state: 'started' }])
    expect(before.map((pid) => isOurs(pid))).toEqual([false, false])
    const after = [pidOf('celery1'), pidOf('celery2')]
    expect((await multi('kill', '1', '--json')).did).toEqual([{ name: `celery1@${host}`, state: 'killed', pid: after[0] }])
    expect((await multi('stopwait', ...words)).did).toMatchObject([{ state: 'down' }, { state: 'stopped', pid: after[1] }])
    expect(after.map((pid) => isOurs(pid))).toEqual([false, false])
    expect(existsSync(file('.celeriac/celery1.pid'))).toBe(false)
  } catch (error) {
    await project.run(['multi', 'kill', '2'])
    throw error
  }
}, 90_000)

test('beat runs in the background with its schedule in a file, and a log that may be renamed', async () => {
  await using project = new Project({
    'tasks.ts': `${shop}
app.addPeriodicTask('1s', greet.s('ada'), { name: 'often' })
`,
  })
  const path = (name: string): string => join(project.folder, name)
  const flags = ['--pidfile', 'run/%n.pid', '--logfile', 'log/%n.log', '--log-format', 'human']
  expect(await project.run(['beat', '--detach', '-s', 'state/my schedule.json', ...flags])).toMatchObject({ code: 0, stdout: '' })
  const pid = Number(readFileSync(path('run/beat.pid'), 'utf8'))
  try {
    await until(() => readFileSync(path('log/beat.log'), 'utf8').includes('Scheduler: Sending'), 'beat sends', 20_000)
    expect(readFileSync(path('state/my schedule.json'), 'utf8')).toContain('often')
    expect(await project.run(['beat', '--store', 'memory://', '-s', 'x'])).toMatchObject({ code: 64 })
    expect(await project.run(['beat', ...flags])).toMatchObject({ code: 73 })
  } finally {
    process.kill(pid)
    await until(() => !isOurs(pid), 'beat has ended', 20_000)
  }
  expect(existsSync(path('run/beat.pid'))).toBe(false)
}, 60_000)
